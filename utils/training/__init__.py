"""Everything that a training run does."""
