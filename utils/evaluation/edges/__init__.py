"""Scores of semantic edges."""
