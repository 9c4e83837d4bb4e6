"""From a sample to what a net trains on: augmentation, targets, samplers."""
