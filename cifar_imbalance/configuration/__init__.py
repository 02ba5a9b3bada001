"""The configuration of a run: every field with its range and choices, and the checks made before any work."""
