"""The steps of an epoch one after another, with their progress and their pace."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cifar_imbalance.engine.epoch import EpochPlan
from cifar_imbalance.engine.pace import Pace
from cifar_imbalance.engine.step import Step
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.terminal import ProgressView

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What the steps of an epoch gave; of a stack with one more axis, its members."""

    losses: Float[Tensor, "steps ..."]
    correct: Float[Tensor, "steps ..."]
    images_per_second: float  # of each member of a stack
    seconds: float
    first_step_seconds: float  # includes compilation, if compiled

    def of_member(self, number: int) -> Trained:
        return replace(self, losses=self.losses[:, number], correct=self.correct[:, number])

    def check_finite(self, epoch: int) -> None:
        """Raises TrainingFailed if a loss of this `epoch` (from 0) is not finite."""
        wrong = torch.nonzero(~torch.isfinite(self.losses))
        if len(wrong):
            first = int(wrong[0])
            raise not_finite(epoch, first, len(self.losses), self.losses[first].item())


class EpochRunner:
    """Runs the steps of one epoch after another."""

    def __init__(self, runtime: DeviceRuntime, epochs: int) -> None:
        self._runtime, self._epochs = runtime, epochs
        self._pace: Pace | None = None
        self._pace_of: str | None = None  # phase

    def run(self, step: Step, plan: EpochPlan, live: ProgressView) -> Trained:
        """Run `step` at every position of `plan`, which it has begun.

        Raises TrainingFailed, where reading is free, as soon as the loss of a single network is not finite.
        """
        steps, batch, epoch = len(plan), plan.batch_size, plan.epoch
        if self._pace is None or self._pace_of != plan.phase:  # phases differ in what a step costs
            self._pace, self._pace_of = Pace(self._runtime.threads or 1), plan.phase
        self._pace.begin()
        started = time.perf_counter()
        for i in range(steps):
            loss = step(i)
            if i == 0:
                first_step_seconds = time.perf_counter() - started
            seen = loss.mean().item() if self._runtime.reading_is_free else None
            if seen is not None and not math.isfinite(seen) and not loss.dim():  # others of a stack go on
                raise not_finite(epoch, i, steps, seen)
            if self._runtime.reading_is_free and (slow := self._pace.step(batch)):
                log.info("%s", slow)
            live.show(
                epoch=f"epoch {epoch + 1}/{self._epochs}",
                steps_done=epoch * steps + i + 1,
                lr=float(plan.rates[i]),
                images_per_second=(i + 1) * batch / (time.perf_counter() - started),
                loss=seen,
            )
        self._runtime.wait()
        seconds = time.perf_counter() - started
        losses, correct = self._runtime.to_host(step.records)
        return Trained(losses, correct, steps * batch / seconds, seconds, first_step_seconds)


def not_finite(epoch: int, step: int, steps: int, loss: float) -> TrainingFailed:
    kept = "; checkpoints of earlier epochs are kept" if epoch else ""
    return TrainingFailed(
        f"the loss is {loss} at step {step + 1} of {steps} of epoch {epoch + 1}{kept}; a smaller schedule.max_lr or "
        "training.clip_norm=1 may help"
    )
