"""The programs' first steps: Ctrl-C ends them quietly even while modules are imported."""

from __future__ import annotations

from cifar_imbalance.errors import end_quietly


def train() -> None:
    end_quietly()
    from cifar_imbalance.command_line import train as program

    program()


def evaluate() -> None:
    end_quietly()
    from cifar_imbalance.command_line import evaluate as program

    program()


def export() -> None:
    end_quietly()
    from cifar_imbalance.command_line import export as program

    program()


def figures() -> None:
    end_quietly()
    from cifar_imbalance.command_line import figures as program

    program()


def benchmark() -> None:
    end_quietly()
    from cifar_imbalance.command_line import benchmark as program

    program()


def predict() -> None:
    end_quietly()
    from cifar_imbalance.command_line import predict as program

    program()
