"""How fast this is, and beside what: `python -m cifar_imbalance.benchmark`."""
