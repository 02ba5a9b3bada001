"""Plots of a data set and of its augmentation, without training."""
