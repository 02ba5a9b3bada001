"""What a data set and an augmentation look like, without any training."""
