"""The learning rate of every step, as a pure function of the step's number.

A step's rate depends on its index t from the start of training, on the steps of an epoch and on the number of epochs
alone: there is no scheduler with a state, and a resumed run goes on at the rate it left.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64

from cifar_imbalance.config import Schedule

Steps = Int64[np.ndarray, " steps"]
Rates = Float64[np.ndarray, " steps"]


def constant(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """max_lr throughout."""
    return np.full(len(t), schedule.max_lr, dtype=np.float64)


def cosine(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Warm-up, then half a cosine (Loshchilov 2017) that starts at max_lr and gives min_lr to the last step."""
    first = _warmup_steps(schedule, steps_per_epoch)
    last = epochs * steps_per_epoch - 1
    progress = np.clip((t - first) / max(last - first, 1), 0.0, 1.0)
    cooling = schedule.min_lr + 0.5 * (schedule.max_lr - schedule.min_lr) * (1.0 + np.cos(np.pi * progress))
    return np.where(t < first, _warmup(t, schedule, steps_per_epoch), cooling)


def step(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Warm-up, then max_lr, multiplied by gamma at the start of each of the epochs `milestones` (from 0)."""
    first = _warmup_steps(schedule, steps_per_epoch)
    milestones = np.sort(np.asarray(list(schedule.milestones), dtype=np.int64))
    reached = np.searchsorted(milestones, t // steps_per_epoch, side="right")
    return np.where(t < first, _warmup(t, schedule, steps_per_epoch), schedule.max_lr * schedule.gamma**reached)


def _warmup_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    return math.ceil(schedule.warmup_epochs * steps_per_epoch)


def _warmup(t: Steps, schedule: Schedule, steps_per_epoch: int) -> Rates:
    """Linear from min_lr to max_lr over W = warmup_epochs * steps_per_epoch steps, which need not be whole.

    Step t has the share (t + 1) / W of the way, so no step is spent at min_lr, which may be 0, and the last one of the
    warm-up is at max_lr.
    """
    share = np.minimum((t + 1) / max(schedule.warmup_epochs * steps_per_epoch, 1.0), 1.0)
    return schedule.min_lr + (schedule.max_lr - schedule.min_lr) * share


SCHEDULES = {"constant": constant, "cosine": cosine, "step": step}


def learning_rates(schedule: Schedule, *, epoch: int, steps_per_epoch: int, epochs: int) -> Rates:
    """The rates of the steps of `epoch` (from 0), of `epochs` in all."""
    t = epoch * steps_per_epoch + np.arange(steps_per_epoch, dtype=np.int64)
    return SCHEDULES[schedule.name](t, schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
