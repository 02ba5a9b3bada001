"""Evaluate a trained model class by class: `python evaluate.py ckpt=RUN_FOLDER`; see `python evaluate.py --help`."""

from cifar_imbalance.errors import end_quietly

if __name__ == "__main__":
    end_quietly()
    from cifar_imbalance.command_line import evaluate

    evaluate()
