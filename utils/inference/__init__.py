"""From an image to probabilities or class ids."""
