"""`python -m cifar_imbalance.benchmark`; see `--help`."""

from cifar_imbalance.errors import end_quietly

if __name__ == "__main__":
    end_quietly()
    from cifar_imbalance.command_line import benchmark

    benchmark()
