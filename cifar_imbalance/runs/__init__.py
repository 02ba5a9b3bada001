"""A run on disk: its folder, and how a later command continues from one."""
