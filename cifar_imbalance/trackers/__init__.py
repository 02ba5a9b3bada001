"""Trackers, which receive what a run writes into its own folder; they change nothing in it and cannot fail it."""
