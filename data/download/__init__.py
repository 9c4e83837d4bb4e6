"""Fetching the data sets that may be fetched."""
