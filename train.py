"""Train and evaluate a model: `python train.py experiment=NAME`; see `python train.py --help`."""

from cifar_imbalance.console import train

if __name__ == "__main__":
    train()
