"""Which classes fail, and what lifts them without costing the others."""

__version__ = "0.1.0"
