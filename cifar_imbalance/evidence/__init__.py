"""Metrics, combinations and comparisons from saved logits: everything that needs neither model nor images."""
