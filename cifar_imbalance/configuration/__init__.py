"""What a run can be told: every field with its range and choices, and the checks before any work."""
