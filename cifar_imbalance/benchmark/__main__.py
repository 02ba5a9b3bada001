"""`python -m cifar_imbalance.benchmark`; see `--help`."""

from cifar_imbalance.console import benchmark

if __name__ == "__main__":
    benchmark()
