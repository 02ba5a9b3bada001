"""From the command line to checked configurations, and from there to a run.

Hydra composes, sweeps and launches. Before it does, every job of the command line is composed and checked (jobs.py).
Torch is imported only after that.
"""

from cifar_imbalance.command_line.programs import (
    benchmark,
    evaluate,
    export,
    figures,
    predict,
    preflight,
    search,
    track,
    train,
)

__all__ = ["benchmark", "evaluate", "export", "figures", "predict", "preflight", "search", "track", "train"]
