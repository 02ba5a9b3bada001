"""A run on disk: its folder, and how later commands resume, repeat, start from or evaluate it."""
