"""From a data set's sample to what a net trains on: augmentation, targets, samplers."""
