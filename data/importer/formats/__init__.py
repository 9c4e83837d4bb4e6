"""One module for each format: from its files to `Annotations`."""
