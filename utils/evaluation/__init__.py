"""Scores of a network, or of anybody's prediction files."""
