"""Evaluate a trained model class by class: `python evaluate.py ckpt=RUN_FOLDER`; see `python evaluate.py --help`."""

from cifar_imbalance.console import evaluate

if __name__ == "__main__":
    evaluate()
