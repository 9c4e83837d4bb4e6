"""What is measured beside matched pixels: how crisp edges are, and how true their probabilities."""
