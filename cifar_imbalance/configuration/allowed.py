"""What a value of the configuration may be: the choices of a name, the range of a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cifar_imbalance.configuration.fields import (
    BALANCES,
    COMBINATIONS,
    PROFILES,
    VALIDATIONS,
)

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
CHOICES = {
    "dataset.name": ("cifar10", "cifar100", "image_folder", "digits"),
    "dataset.validation": VALIDATIONS,
    "dataset.holdout_balance": BALANCES,
    "dataset.imbalance.profile": PROFILES,
    "augmentation.rotation.border": ("reflect", "constant"),
    "augmentation.shift.border": ("reflect", "constant"),
    "model.head_init": ("timm", "glorot"),
    "loss.name": ("cross_entropy",),
    "optimizer.name": ("adam", "adamw", "sgd"),
    "schedule.name": ("constant", "cosine", "step", "burnin_warmup_flat_cooldown"),
    "ensemble.combine": COMBINATIONS,
    "checkpoint.monitor": ("macro_f1", "accuracy", "worst_recall", "loss"),
    "checkpoint.choose": ("best", "last"),
    "runtime.name": ("auto", "cpu", "cuda", "xla", "tpu"),
    "runtime.precision": ("float32", "bfloat16"),
    "split": ("test", "validation", "train"),
}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; an open end is not itself allowed."""

    low: float = 0.0
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low = f"{'more than' if self.low_open else 'at least'} {self.low:.10g}"
        if math.isinf(self.high):
            return low
        return f"{low} and {'less than' if self.high_open else 'at most'} {self.high:.10g}"


_POSITIVE = Range(low_open=True)
NOT_NEGATIVE = Range()
_COUNT = Range(1)
_SHARE = Range(0, 1)
_PIXEL = Range(0, 255)
SEED = Range(0, 2**32 - 1)
RANGES = {
    "seed": SEED,
    "dataset.image_size": Range(4, 4096),
    "dataset.holdout_fraction": Range(0, 1, low_open=True, high_open=True),
    "dataset.split_seed": SEED,
    "dataset.folds": Range(2),
    "dataset.without_fold": NOT_NEGATIVE,
    "dataset.imbalance.factor": _COUNT,
    "dataset.imbalance.subset_seed": SEED,
    "augmentation.flip.probability": _SHARE,
    "augmentation.flip.vertical_probability": _SHARE,
    "augmentation.rotation.max_degrees": Range(0, 180),
    "augmentation.rotation.fill": _PIXEL,
    "augmentation.shift.height_fraction": Range(0, 1, high_open=True),
    "augmentation.shift.width_fraction": Range(0, 1, high_open=True),
    "augmentation.shift.fill": _PIXEL,
    "augmentation.pad_crop.padding": NOT_NEGATIVE,
    "augmentation.pad_crop.fill": _PIXEL,
    "augmentation.cutout.count": _COUNT,
    "augmentation.cutout.size_fraction": Range(0, 1, low_open=True),
    "augmentation.cutout.fill": _PIXEL,
    "augmentation.color_jitter.probability": _SHARE,
    "model.drop_rate": Range(0, 1, high_open=True),
    "model.drop_path_rate": Range(0, 1, high_open=True),
    "model.resolution": _POSITIVE,
    "model.freeze_ratio": _SHARE,
    "loss.label_smoothing": Range(0, 1, high_open=True),
    "optimizer.momentum": Range(0, 1, high_open=True),
    "optimizer.weight_decay": NOT_NEGATIVE,
    "schedule.max_lr": _POSITIVE,
    "schedule.min_lr": NOT_NEGATIVE,
    "schedule.warmup_epochs": NOT_NEGATIVE,
    "schedule.gamma": Range(0, 1, low_open=True),
    "schedule.burnin_epochs": NOT_NEGATIVE,
    "schedule.burnin_lr": NOT_NEGATIVE,
    "schedule.flat_epochs": NOT_NEGATIVE,
    "schedule.cooldown_epochs": NOT_NEGATIVE,
    "ensemble.members": _COUNT,
    "training.epochs": _COUNT,
    "training.batch_size": Range(2),  # one image has no batch statistics
    "training.eval_batch_size": _COUNT,
    "training.clip_norm": _POSITIVE,
    "training.ema_decay": Range(0, 1, low_open=True, high_open=True),
    "rounds": _COUNT,
    "steps": _COUNT,
    "batch_size": Range(2),
    "image_size": Range(4, 4096),
    "class_count": Range(2),
    "runtime.devices": _COUNT,
    "runtime.threads": _COUNT,
}
