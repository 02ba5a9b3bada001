"""An experiment's own steps compiled for a TPU that this machine does not have: memory, bounds, duration."""
