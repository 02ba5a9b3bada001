"""`python -m cifar_imbalance.track`; see `--help`."""

from cifar_imbalance.console import track

if __name__ == "__main__":
    track()
