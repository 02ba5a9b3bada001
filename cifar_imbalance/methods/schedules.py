"""The learning rate of every step, as a pure function of the step's number.

A step's rate depends on its index t from the start of training, on the steps of an epoch and on the number of epochs
alone: there is no scheduler with a state, and a resumed run goes on at the rate it left.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64

from cifar_imbalance.configuration.fields import Schedule

PHASES = ("burnin", "warmup", "flat", "cooldown")

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


def burnin_warmup_flat_cooldown(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Iwamoto 2023, experiment 1: burnin_lr; a cosine from min_lr up; max_lr; a cosine down to min_lr.

    The rate of an epoch is that of all its steps, or with `per_step` the phases are counted in steps. Of warm-up's W
    values the first is min_lr; of cool-down's C the last.
    """
    unit = steps_per_epoch if schedule.per_step else 1
    since = (t if schedule.per_step else t // steps_per_epoch) - schedule.burnin_epochs * unit
    warmup, flat, cooldown = (
        n * unit for n in (schedule.warmup_epochs, schedule.flat_epochs, schedule.cooldown_epochs)
    )
    risen = 0.5 * (1.0 - np.cos(np.pi * since / max(warmup, 1)))
    fallen = 0.5 * (1.0 + np.cos(np.pi * (since - (warmup + flat) + 1) / max(cooldown, 1)))
    share = np.select([since < warmup, since < warmup + flat], [risen, 1.0], fallen)
    rates = schedule.min_lr + (schedule.max_lr - schedule.min_lr) * share
    return np.where(since < 0, schedule.burnin_lr, rates)


SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "burnin_warmup_flat_cooldown": burnin_warmup_flat_cooldown,
}


def phase(schedule: Schedule, epoch: int) -> str:
    """burnin, warmup, flat or cooldown for `epoch` (from 0) of a schedule that has them; else training."""
    if schedule.name != "burnin_warmup_flat_cooldown":
        return "training"
    ends = np.cumsum([schedule.burnin_epochs, schedule.warmup_epochs, schedule.flat_epochs])
    return PHASES[int(np.searchsorted(ends, epoch, side="right"))]


def learning_rates(schedule: Schedule, *, epoch: int, steps_per_epoch: int, epochs: int) -> Rates:
    """The rates of the steps of `epoch` (from 0), of `epochs` in all."""
    t = epoch * steps_per_epoch + np.arange(steps_per_epoch, dtype=np.int64)
    return SCHEDULES[schedule.name](t, schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
