"""The drawn data set: street scenes with exact ground truth."""
