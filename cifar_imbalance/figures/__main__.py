"""`python -m cifar_imbalance.figures`; see `--help`."""

from cifar_imbalance.console import figures

if __name__ == "__main__":
    figures()
