"""From saved logits to metrics, combinations, comparisons: everything that needs neither model nor image."""
