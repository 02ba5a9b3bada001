"""Tables and plots of results. Reads predictions and per-epoch metrics; opens no checkpoint, runs no model."""
