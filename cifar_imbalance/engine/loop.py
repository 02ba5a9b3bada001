"""The training loop: epochs, validation, checkpoints, progress. It contains no formulas."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.epoch import EpochPlan, plan_epoch
from cifar_imbalance.engine.epoch_runner import EpochRunner, Trained
from cifar_imbalance.engine.step import EvaluationStep, Network, TrainingStep
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.evidence.metrics import epoch_metrics
from cifar_imbalance.methods.controller import Controller, Training
from cifar_imbalance.methods.max_norm import cut_to_norm
from cifar_imbalance.methods.samplers import steps_per_epoch
from cifar_imbalance.models.heads import class_vectors
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.terminal import EPOCHS, ProgressView, Terminal

log = logging.getLogger(__name__)

SLOW_STEP = 5.0  # seconds; a slower first step was most likely compiled, and its time is logged


@dataclass
class Loop:
    """The state that changes during training: the model, its average, the optimiser, the history and the best epoch."""

    config: TrainConfig
    runtime: DeviceRuntime
    folder: RunFolder
    train: ImageSet
    validation: ImageSet | None
    policy: Policy
    network: Network
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    training_step: TrainingStep
    runner: EpochRunner
    validation_step: EvaluationStep | None
    controller: Controller
    norm_limit: float | None  # of the head's class vectors
    history: list[dict[str, Any]]
    recalls: list[NDArray[np.float64]]  # [K] after each epoch, NaN for a class without images
    class_values: list[NDArray[Any]]  # [K] in each epoch, those that the controller sets; none if it sets none
    best: dict[str, float | int] | None = None  # "epoch", "value" of checkpoint.monitor, "loss"

    @property
    def reported(self) -> nn.Module:
        """The weights that are evaluated and reported: the average's, if there is one."""
        return self.network.module if self.average is None else self.average

    @property
    def evaluated_on(self) -> str:
        """Which images every epoch is evaluated on: test images are never called validation."""
        return "test" if self.config.dataset.validation == "test" else "validation"

    def run(self, terminal: Terminal, after_epoch: Callable[[Mapping[str, Any]], None] = lambda line: None) -> None:
        """Run all remaining epochs; `after_epoch` is given the line of each, once its checkpoint is saved."""
        with self.progress(terminal) as live:
            for epoch in range(len(self.history), self.config.training.epochs):
                started = time.perf_counter()
                plan = self.begin_epoch(epoch)
                trained = self.train_epoch(plan, live)
                after_epoch(self.end_epoch(plan, trained, time.perf_counter() - started))

    def progress(self, terminal: Terminal) -> ProgressView:
        steps = steps_per_epoch(len(self.train.labels), self.config.training.batch_size)
        return terminal.progress(steps=self.config.training.epochs * steps, done=len(self.history) * steps)

    def begin_epoch(self, epoch: int) -> EpochPlan:
        """The plan of `epoch` (from 0), of which what the controller set is recorded."""
        plan = self.plan(epoch)
        if (name := self.controller.changes) is not None:
            self.class_values.append(getattr(plan.classes, name))
        return plan

    def train_epoch(self, plan: EpochPlan, live: ProgressView) -> Trained:
        """Run the steps of `plan`. Raises TrainingFailed as soon as it is seen that a loss is not finite."""
        self.training_step.begin_epoch(plan)
        return self.runner.run(self.training_step, plan, live)

    def end_epoch(self, plan: EpochPlan, trained: Trained, seconds: float) -> dict[str, Any]:
        """Validate, and save the epoch, which took so many `seconds`; returns its line of metrics.jsonl.

        Raises TrainingFailed if a loss or a weight is not finite.
        """
        trained.check_finite(plan.epoch)
        if self.norm_limit is not None:
            vectors = class_vectors(self.network.module, self.config.model)
            # On the host: on the device it would be a graph of its own, or part of the next one.
            on_host = self.runtime.to_host(vectors).clone()
            cut_to_norm(on_host, self.norm_limit)
            vectors.data = self.runtime.place(on_host)
        line = {**_training_line(plan, trained), "seconds": round(seconds, 2), **self._validate()}
        self.history.append(line)
        is_best = self._update_best(line)
        EPOCHS.info(_epoch_line(line, self.config.training.epochs, self.evaluated_on))
        state = self._state()
        # In this order: a resumed run drops an extra line, but could not recreate a missing one.
        self.folder.write_recalls(self.recalls, self.train.class_names, self.evaluated_on)
        if (name := self.controller.changes) is not None:
            self.folder.write_class_values(name, self.class_values, self.train.class_names)
        self.folder.write_history(self.history)
        self._save({**state, "epochs_sha256": self.folder.epochs_sha256(plan.epoch + 1)}, is_best)
        return line

    def plan(self, epoch: int) -> EpochPlan:
        """The inputs of the steps of `epoch` (from 0)."""
        training = Training(
            self.config.seed,
            epoch,
            self.train.images,
            self.train.labels,
            self.config.augmentation,
            self._classify,
        )
        self.controller.begin_epoch(training)
        classes = self.controller.classes()
        return plan_epoch(self.config, epoch, labels=self.train.labels, classes=classes, policy=self.policy)

    def _classify(self, images: np.ndarray) -> np.ndarray:
        """The classes [n] that the current weights predict for images, uint8 [n, height, width, 3]."""
        step = EvaluationStep(self.network, images, self.config.training.eval_batch_size)
        predicted: np.ndarray = step(self.network.module).numpy().argmax(axis=1)
        return predicted

    def _validate(self) -> dict[str, Any]:
        if self.validation is None or self.validation_step is None:
            return {}
        started = time.perf_counter()
        logits = self.validation_step(self.reported).numpy()
        results, by_class = epoch_metrics(logits, self.validation.labels)
        self.recalls.append(by_class.recall)
        if results["loss"] is not None:
            self.controller.observe(by_class)
        on = self.evaluated_on
        seconds = round(time.perf_counter() - started, 2)
        return {**{f"{on}_{name}": value for name, value in results.items()}, f"{on}_seconds": seconds}

    def _update_best(self, line: Mapping[str, Any]) -> bool:
        """Whether this epoch is the best so far by checkpoint.monitor; of equal ones, the one of lower loss."""
        monitor = self.config.checkpoint.monitor
        value, loss = (line.get(f"{self.evaluated_on}_{name}") for name in (monitor, "loss"))
        if value is None or loss is None:  # no validation images, or logits that are not finite
            return False
        rank = (-loss,) if monitor == "loss" else (value, -loss)
        if self.best is not None:
            rank_of_best = (-self.best["loss"],) if monitor == "loss" else (self.best["value"], -self.best["loss"])
            if rank <= rank_of_best:
                return False
        self.best = {"epoch": line["epoch"], "value": value, "loss": loss}
        return True

    def _state(self) -> dict[str, Any]:
        """The content of this epoch's checkpoint. Raises TrainingFailed if the weights are not finite."""
        state = {
            "epoch": len(self.history),
            "model": self._on_host(self.network.module.state_dict()),
            "average": None if self.average is None else self._on_host(self.average.state_dict()),
            "optimizer": self._on_host(self.optimizer.state_dict()["state"]),
            "best": self.best,
            "controller": self.controller.state_dict(),
            "class_values": torch.from_numpy(np.stack(self.class_values)) if self.class_values else None,
            "norm_limit": self.norm_limit,
            "model_name": self.config.model.name,
            "class_names": list(self.train.class_names),
            "train_images": self.train.class_counts.tolist(),  # of each class
        }
        if not all(torch.isfinite(tensor).all() for tensor in state["model"].values()):
            raise TrainingFailed(f"the weights are not finite after epoch {len(self.history)}; it is not checkpointed")
        return state

    def _save(self, state: dict[str, Any], is_best: bool) -> None:
        checkpoint.save(self.folder.checkpoint("last"), state)
        if is_best:
            checkpoint.copy(self.folder.checkpoint("last"), self.folder.checkpoint("best"))

    def _on_host(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.runtime.to_host(value).contiguous()
        return {key: self._on_host(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _training_line(plan: EpochPlan, trained: Trained) -> dict[str, Any]:
    return {
        "epoch": plan.epoch + 1,
        "phase": plan.phase,
        "lr_start": float(plan.rates[0]),
        "lr_end": float(plan.rates[-1]),
        "train_loss": trained.losses.mean().item(),
        "train_accuracy": trained.correct.mean().item(),
        "images_per_second": round(trained.images_per_second, 1),
        "seconds": round(trained.seconds, 2),
        "first_step_seconds": round(trained.first_step_seconds, 2),
    }


def _epoch_line(line: Mapping[str, Any], epochs: int, evaluated_on: str) -> str:
    parts = [f"epoch {line['epoch']}/{epochs}", f"loss {line['train_loss']:.4f}"]
    if f"{evaluated_on}_loss" in line:
        results = {name: line[f"{evaluated_on}_{name}"] for name in ("loss", "accuracy", "macro_f1", "worst_recall")}
        shown = [f"{name} {'not finite' if value is None else f'{value:.4f}'}" for name, value in results.items()]
        parts.append(f"{evaluated_on} " + " ".join(shown))
    parts += [f"lr {line['lr_end']:.3g}", f"{line['images_per_second']:.0f} images/s", f"{line['seconds']:.1f} s"]
    if line["first_step_seconds"] > SLOW_STEP:
        parts.append(f"(first step {line['first_step_seconds']:.0f} s)")
    return "  ".join(parts)
