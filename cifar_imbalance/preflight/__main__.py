"""`python -m cifar_imbalance.preflight`; see `--help`."""

from cifar_imbalance.console import preflight

if __name__ == "__main__":
    preflight()
