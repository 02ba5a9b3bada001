"""From figures to tables and pictures. Reads predictions and the epochs' lines; opens no checkpoint, runs no model."""
