"""Train and evaluate a model: `python train.py experiment=NAME`; see `python train.py --help`."""

from cifar_imbalance.errors import end_quietly

if __name__ == "__main__":
    end_quietly()
    from cifar_imbalance.command_line import train

    train()
