"""Edge labels of any data set, or of anybody's label maps: `python -m data.gtlabel`."""
