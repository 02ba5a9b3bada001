"""`python -m cifar_imbalance.export`; see `--help`."""

from cifar_imbalance.console import export

if __name__ == "__main__":
    export()
