"""The learning rate of every step, as a pure function of the step's number.

A step's rate depends only on its index t from the start of training, the steps per epoch and the number of epochs:
there is no stateful scheduler, and a resumed run continues at the rate it had reached.
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
    """Warm-up, then half a cosine (Loshchilov 2017) from max_lr to min_lr, which is the last step's rate."""
    warmup = _warmup_steps(schedule, steps_per_epoch * epochs)
    first = math.ceil(warmup)
    last = epochs * steps_per_epoch - 1
    progress = np.clip((t - first) / max(last - first, 1), 0.0, 1.0)
    cooling = schedule.min_lr + 0.5 * (schedule.max_lr - schedule.min_lr) * (1.0 + np.cos(np.pi * progress))
    return np.where(t < first, _warmup(t, schedule, warmup), cooling)


def step(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Warm-up, then max_lr, multiplied by gamma from each of the `milestones` on, shares of the epochs."""
    assert schedule.step is not None
    warmup = _warmup_steps(schedule, steps_per_epoch * epochs)
    starts = [round(share * epochs) for share in schedule.step.milestones]
    reached = np.searchsorted(starts, t // steps_per_epoch, side="right")
    falling = schedule.max_lr * schedule.step.gamma**reached
    return np.where(t < math.ceil(warmup), _warmup(t, schedule, warmup), falling)


def _warmup_steps(schedule: Schedule, steps: int) -> float:
    """The warm-up's share of all `steps`, not necessarily an integer."""
    return round(schedule.warmup_fraction * steps, 6)  # 0.07 of 100 is 7, not slightly more


def _warmup(t: Steps, schedule: Schedule, warmup: float) -> Rates:
    """Linear from min_lr to max_lr over W = `warmup` steps, not necessarily an integer.

    Step t is (t + 1) / W of the way, so no step is spent at min_lr, which may be 0, and the last step of the warm-up is
    at max_lr.
    """
    share = np.minimum((t + 1) / max(warmup, 1.0), 1.0)
    return schedule.min_lr + (schedule.max_lr - schedule.min_lr) * share


def four_phases(t: Steps, schedule: Schedule, *, steps_per_epoch: int, epochs: int) -> Rates:
    """Iwamoto 2023, experiment 1: burnin_lr; a cosine from min_lr up; max_lr; a cosine down to min_lr.

    The rate is constant within an epoch, or with `per_step` the phases are counted in steps. The first of the warm-up's
    W values is min_lr, and so is the last of the cool-down's C values.
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
    """The number of initial epochs in which only the head is trained."""
    return schedule.four_phases.burnin_epochs if schedule.name == "four_phases" and schedule.four_phases else 0


def phase(schedule: Schedule, epoch: int) -> str:
    """burnin, warmup, flat or cooldown for `epoch` (from 0) of a schedule with phases; else training."""
    phases = schedule.four_phases
    if schedule.name != "four_phases" or phases is None:
        return "training"
    ends = np.cumsum([phases.burnin_epochs, phases.warmup_epochs, phases.flat_epochs])
    return PHASES[int(np.searchsorted(ends, epoch, side="right"))]


def learning_rates(schedule: Schedule, *, epoch: int, steps_per_epoch: int, epochs: int) -> Rates:
    """The rates of the steps of `epoch` (from 0), of `epochs` in total."""
    t = epoch * steps_per_epoch + np.arange(steps_per_epoch, dtype=np.int64)
    return SCHEDULES[schedule.name](t, schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
