"""`python -m cifar_imbalance.search`; see `--help`."""

from cifar_imbalance.console import search

if __name__ == "__main__":
    search()
