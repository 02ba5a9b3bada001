"""The programs' first steps: Ctrl-C ends them quietly even while modules are imported."""

from __future__ import annotations

import sys

from cifar_imbalance.errors import end_quietly


def train() -> None:
    _start("train")


def evaluate() -> None:
    _start("evaluate")


def export() -> None:
    _start("export")


def predict() -> None:
    _start("predict")


def preflight() -> None:
    _start("preflight")


def figures() -> None:
    _start("figures")


def search() -> None:
    _start("search")


def track() -> None:
    _start("track")


def benchmark() -> None:
    _start("benchmark")


def _start(program: str) -> None:
    end_quietly()
    try:
        from cifar_imbalance import command_line
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "cifar_imbalance":
            raise
        sys.exit(f"{program}: {package} is not installed in this environment; pip install -e . installs what is needed")
    getattr(command_line, program)()
