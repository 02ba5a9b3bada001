"""Which classes an image classifier fails, and what improves them without hurting the others."""

__version__ = "0.1.0"
