"""Results of `test.py` beside each other, with intervals of their differences."""
