"""`python -m cifar_imbalance.predict`; see `--help`."""

from cifar_imbalance.console import predict

if __name__ == "__main__":
    predict()
