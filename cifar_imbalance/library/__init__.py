"""The methods alone, for a training loop of your own: `from cifar_imbalance import library`.

Names and settings are those of the configuration (`python train.py --help`): `library.Loss("ldam", counts,
max_margin=15)` is `loss=ldam loss.ldam.max_margin=15`. Numbers may be torch tensors, numpy arrays or lists; arrays come
back as numpy's unless a docstring says otherwise. A mistake raises UsageError, one line that names the argument, the
value and what is allowed. docs/library.md has examples, which the tests run.
"""

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.library.judging import (
    FittedAdjustment,
    LogitsAndLabels,
    adjustment,
    class_metrics,
    report,
    summarize,
)
from cifar_imbalance.library.training import Augmentation, ClassSampler, Loss, class_weights, long_tailed

__all__ = [
    "Augmentation",
    "ClassMetrics",
    "ClassSampler",
    "FittedAdjustment",
    "LogitsAndLabels",
    "Loss",
    "UsageError",
    "adjustment",
    "class_metrics",
    "class_weights",
    "long_tailed",
    "report",
    "summarize",
]
