"""Augmentation of training images: pure batched operators, and the policy that draws their parameters by key."""
