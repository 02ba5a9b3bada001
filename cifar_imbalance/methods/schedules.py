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
    warmup = _warmup_steps(schedule, steps_per_epoch * epochs)
    first = math.ceil(warmup)
    last = epochs * steps_per_epoch - 1
    progress = np.clip((t - first) / max(last - first, 1), 0.0, 1.0)
    cooling = schedule.min_lr + 0.5 * (schedule.max_lr - schedule.min_lr) * (1.0 + np.cos(np.pi * progress))
    return np.where(t < first, _warmup(t, schedule, warmup), cooling)


def step(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Warm-up, then max_lr, multiplied by gamma at the start of each of the epochs `milestones` (from 0)."""
    assert schedule.step is not None
    warmup = _warmup_steps(schedule, steps_per_epoch * epochs)
    reached = np.searchsorted(schedule.step.milestones, t // steps_per_epoch, side="right")
    falling = schedule.max_lr * schedule.step.gamma**reached
    return np.where(t < math.ceil(warmup), _warmup(t, schedule, warmup), falling)


def _warmup_steps(schedule: Schedule, steps: int) -> float:
    """The warm-up's part of all `steps`, which need not be whole."""
    return round(schedule.warmup_fraction * steps, 6)  # 0.07 of 100 is 7, and not a little more


def _warmup(t: Steps, schedule: Schedule, warmup: float) -> Rates:
    """Linear from min_lr to max_lr over W = `warmup` steps, which need not be whole.

    Step t has the share (t + 1) / W of the way, so no step is spent at min_lr, which may be 0, and the last one of the
    warm-up is at max_lr.
    """
    share = np.minimum((t + 1) / max(warmup, 1.0), 1.0)
    return schedule.min_lr + (schedule.max_lr - schedule.min_lr) * share


def four_phases(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Iwamoto 2023, experiment 1: burnin_lr; a cosine from min_lr up; max_lr; a cosine down to min_lr.

    The rate of an epoch is that of all its steps, or with `per_step` the phases are counted in steps. Of warm-up's W
    values the first is min_lr; of cool-down's C the last.
    """
    phases = schedule.four_phases
    assert phases is not None
    unit = steps_per_epoch if phases.per_step else 1
    since = (t if phases.per_step else t // steps_per_epoch) - phases.burnin_epochs * unit
    warmup, flat, cooldown = (n * unit for n in (phases.warmup_epochs, phases.flat_epochs, phases.cooldown_epochs))
    risen = 0.5 * (1.0 - np.cos(np.pi * since / max(warmup, 1)))
    fallen = 0.5 * (1.0 + np.cos(np.pi * (since - (warmup + flat) + 1) / max(cooldown, 1)))
    share = np.select([since < warmup, since < warmup + flat], [risen, 1.0], fallen)
    rates = schedule.min_lr + (schedule.max_lr - schedule.min_lr) * share
    return np.where(since < 0, phases.burnin_lr, rates)


SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "four_phases": four_phases,
}


def burnin_epochs(schedule: Schedule) -> int:
    """Epochs, from the first on, in which the head alone learns."""
    return schedule.four_phases.burnin_epochs if schedule.name == "four_phases" and schedule.four_phases else 0


def phase(schedule: Schedule, epoch: int) -> str:
    """burnin, warmup, flat or cooldown for `epoch` (from 0) of a schedule that has them; else training."""
    phases = schedule.four_phases
    if schedule.name != "four_phases" or phases is None:
        return "training"
    ends = np.cumsum([phases.burnin_epochs, phases.warmup_epochs, phases.flat_epochs])
    return PHASES[int(np.searchsorted(ends, epoch, side="right"))]


def learning_rates(schedule: Schedule, *, epoch: int, steps_per_epoch: int, epochs: int) -> Rates:
    """The rates of the steps of `epoch` (from 0), of `epochs` in all."""
    t = epoch * steps_per_epoch + np.arange(steps_per_epoch, dtype=np.int64)
    return SCHEDULES[schedule.name](t, schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
