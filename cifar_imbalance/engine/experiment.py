"""One run of one model, from its checked configuration to its report."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cifar_imbalance import atomic
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.checks import check_batch_size
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.data.experiment_data import ExperimentData, load_experiment_data
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.features import what_is_trained
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.memory import OF_TRAINING, out_of_memory_named
from cifar_imbalance.engine.reported import load_parent
from cifar_imbalance.engine.results import model_names, report_run
from cifar_imbalance.engine.step import EvaluationStep, Network, TrainingStep
from cifar_imbalance.engine.steps import Steps
from cifar_imbalance.engine.teacher import Teacher, load_teacher
from cifar_imbalance.engine.update import WeightAverage, state_of
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import imbalance_factor
from cifar_imbalance.methods.class_weights import class_weights
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controllers import CONTROLLERS
from cifar_imbalance.methods.losses import NEED_IMAGES
from cifar_imbalance.methods.max_norm import norm_limit
from cifar_imbalance.methods.optimizers import fresh_state, load_state, make_optimizer
from cifar_imbalance.methods.schedules import burnin_epochs
from cifar_imbalance.models.build import BuiltModel, build_model, check_name
from cifar_imbalance.models.freezing import check_head
from cifar_imbalance.models.heads import class_vectors
from cifar_imbalance.models.summary import model_summary
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.runs.folder import RunFolder, claim, in_passing
from cifar_imbalance.runs.stored import check_no_links, sealed
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal
from cifar_imbalance.trackers.tracking import Tracking, replay_command, tracking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What a run needs, prepared before its folder is claimed."""

    runtime: DeviceRuntime
    data: ExperimentData
    policy: Policy
    built: BuiltModel
    teacher: Teacher | None


def prepare(
    config: TrainConfig,
    like: Prepared | None = None,
    *,
    runtime: DeviceRuntime | None = None,
    terminal: Terminal | None = None,
) -> Prepared:
    """Device, images, augmentation and model; device and images are those of `like`, which has the same, if given.

    The device is otherwise that of `config.runtime`, unless a `runtime` is given. With a `terminal` this may be one of
    several processes on a pod, and all but the first print nothing on theirs. Raises UsageError if the configuration
    does not suit them.
    """
    if runtime is None:
        runtime = like.runtime if like else _runtime(config, terminal)
    check_name(config.model)  # before images are downloaded and decoded
    data = like.data if like else load_experiment_data(config.dataset)
    height, width = data.train.images.shape[1:3]
    counts, names = data.train.class_counts, data.train.class_names
    if config.loss.name in NEED_IMAGES and not counts.all():
        empty = names[int(np.argmin(counts))]
        raise UsageError(f"loss={config.loss.name}: it is infinite for class {empty}, which has no training images")
    policy = Policy(config.augmentation, height=height, width=width)
    training, images = config.training, len(data.train.labels)
    check_batch_size("training.batch_size", training.batch_size, devices=runtime.devices, images=images)
    check_batch_size("training.eval_batch_size", training.eval_batch_size, devices=runtime.devices)
    model = config.model
    if config.resume is not None:  # the weights are in the checkpoint; neither hub nor file is needed
        model = replace(model, pretrained=False, weights=None)
    class_count = len(data.train.class_names)
    built = build_model(model, class_count=class_count, image_size=(height, width), seed=config.seed)
    if config.start is not None and config.resume is None:
        load_parent(built.module, config, data.train.class_names)
    check_head(built.module, config.model, burnin_epochs=burnin_epochs(config.schedule))
    if config.training.head_max_norm is not None:
        class_vectors(built.module, config.model)
    return Prepared(runtime, data, policy, built, load_teacher(config, data))


def run_experiment(
    config: TrainConfig, path: Path, overrides: list[str], terminal: Terminal | None = None
) -> Path | None:
    """Train, choose the epoch, evaluate it on the test images, write the report. `path` is the run folder to create;
    if another run has it, the next free one is. Returns it. A finished run is left as it is.

    A run with a `terminal` is part of something larger. On a pod every host's process computes the run, which must be
    none, and all but the first keep nothing, print nothing and return None. Raises UsageError, before the folder is
    touched, if the configuration does not suit images, model or device, and TrainingFailed if the loss is not finite.
    """
    alone = terminal is None
    with terminal or Terminal() as terminal:
        canvas.use(config.plots)
        if (finished := finished_run(config)) is not None:
            return finished
        prepared = prepare(config, terminal=terminal if alone else None)
        if prepared.runtime.process > 0:
            with in_passing(config.resume) as folder:
                passing = replace(config, logger=[], resume=None if config.resume is None else str(folder))
                _train(passing, folder / "run", overrides, terminal, prepared)
            return None
        return _train(config, path, overrides, terminal, prepared)


def _runtime(config: TrainConfig, terminal: Terminal | None) -> DeviceRuntime:
    runtime = make_runtime(config.runtime, deterministic=config.deterministic, on_pods=terminal is not None)
    if terminal is not None and runtime.process > 0:
        terminal.console.quiet = True
    return runtime


def _train(config: TrainConfig, path: Path, overrides: list[str], terminal: Terminal, prepared: Prepared) -> Path:
    """Train and report in the folder that is resumed, or a new one at `path`; returns it."""
    with open_run(config, path, overrides, terminal, prepared) as run:
        try:
            with run.memory_named(), run.tracking(epochs_done=len(run.loop.history)) as tracked:
                run.loop.run(terminal, tracked.log)
                report_run(run.loop, run.data)
                tracked.finish()
        except KeyboardInterrupt:
            if prepared.runtime.process > 0 or not run.folder.checkpoint("last").exists():
                raise
            raise KeyboardInterrupt(
                f"resume with: {command('train')} {as_typed('resume', str(run.folder.path))}"
            ) from None
        except Exception:
            run.log_traceback()
            raise
    return run.folder.path


def finished_run(config: TrainConfig) -> Path | None:
    """The folder of the run to resume if it is finished, which is logged; else None."""
    if config.resume is None or not (folder := RunFolder(expanded(config.resume, "resume"))).is_finished:
        return None
    asked = [name for name in config.logger if name not in folder.read_config().logger]
    replay = f"; to send it to {', '.join(asked)}: {replay_command(folder, asked)}" if asked else ""
    log.info("%s is finished; nothing was done%s", folder.path, replay)
    return folder.path


@dataclass(frozen=True)
class OpenRun:
    """A run with its folder and its loop, at the start or at its last checkpoint."""

    loop: Loop
    data: ExperimentData

    @property
    def folder(self) -> RunFolder:
        return self.loop.folder

    def memory_named(self) -> AbstractContextManager[None]:
        training = self.loop.config.training
        sizes = {f"training.{name}": getattr(training, name) for name in ("batch_size", "eval_batch_size")}
        return out_of_memory_named(self.loop.runtime, sizes, OF_TRAINING)

    def tracking(self, *, epochs_done: int) -> AbstractContextManager[Tracking]:
        return tracking(self.loop.config.logger, self.folder, self.loop.config, epochs_done=epochs_done)

    def log_traceback(self) -> None:
        """Append the exception that is handled to the log, which only fails if that is gone or the disk is full."""
        with suppress(OSError), self.folder.log.open("a", encoding="utf-8") as file:
            file.write(traceback.format_exc())


@contextmanager
def open_run(
    config: TrainConfig, path: Path, overrides: list[str], terminal: Terminal, prepared: Prepared
) -> Iterator[OpenRun]:
    """The run in its folder, new or resumed, which is held while it lasts."""
    config = replace(config, runtime=prepared.runtime.settled(config.runtime))
    resumed = None if config.resume is None else RunFolder(expanded(config.resume, "resume"))
    folder = resumed or claim(path, config, overrides)
    with folder.held():
        if resumed is not None:
            check_no_links(folder.path, f"resume={config.resume}")
            folder.tidy()
        state = None if resumed is None else _state_to_resume(folder, config, prepared.data)
        terminal.write_log(folder.log)
        describe(folder, config, prepared.data, prepared.built, prepared.runtime, resumed=state is not None)
        loop = make_loop(
            config, prepared.runtime, folder, prepared.data, prepared.policy, prepared.built, state, prepared.teacher
        )
        yield OpenRun(loop, prepared.data)


def make_loop(
    config: TrainConfig,
    runtime: DeviceRuntime,
    folder: RunFolder,
    data: ExperimentData,
    policy: Policy,
    built: BuiltModel,
    state: dict[str, Any] | None,
    teacher: Teacher | None = None,
) -> Loop:
    """A loop with model, images and optimiser on the device, at the start or at a checkpoint's `state`."""
    counts = data.train.class_counts
    teacher_share = None if teacher is None else teacher.share
    classes = Classes(counts, class_weights(counts, config.class_weights), np.zeros_like(counts), teacher_share)
    controller = CONTROLLERS[config.controller.name](classes, config.controller)
    host_average = copy.deepcopy(built.module)  # weights are loaded on the host, then moved to the device
    if state is None:
        optimizer_state = fresh_state(built.module, config.optimizer)
    else:
        with checkpoint.fitting(folder.checkpoint("last")):
            controller.load_state_dict(state["controller"])
            built.module.load_state_dict(state["model"])
            host_average.load_state_dict(state["average"] or state["model"])
            checkpoint.check_alike(state["optimizer"], fresh_state(built.module, config.optimizer))
        optimizer_state = state["optimizer"]
    limit = None
    if (share := config.training.head_max_norm) is not None:
        limit = state["norm_limit"] if state else norm_limit(class_vectors(built.module, config.model), share)
    network = Network.on_device(built, runtime)
    decay = config.training.ema_decay
    average = None if decay is None else runtime.place_model(host_average)
    optimizer = make_optimizer(
        network.module,
        config.optimizer,
        learning_rate=runtime.learning_rate(runtime.place(torch.tensor(runtime.smallest_rate))),
        variant=runtime.optimizer_variant(),
    )
    with checkpoint.fitting(folder.checkpoint("last")):
        load_state(optimizer, optimizer_state, runtime.place)
    runtime.prepare_optimizer(optimizer)
    trained, train_images, validation_images = what_is_trained(
        config, network, data.train.images, None if data.validation is None else data.validation.images
    )
    training_step = TrainingStep(
        trained,
        optimizer,
        images=train_images,
        labels=data.train.labels,
        policy=policy,
        model=config.model,
        loss=config.loss,
        mixing=config.mixing,
        clip_norm=config.training.clip_norm,
        average=None
        if average is None or decay is None
        else WeightAverage(state_of(average), state_of(network.module), decay),
        teacher=None if teacher is None else teacher.logits,
        temperature=None if teacher is None else config.distillation.temperature,
    )
    validation_step = None
    if validation_images is not None:
        validation_step = EvaluationStep(trained, validation_images, config.training.eval_batch_size)
    return Loop(
        config=config,
        runtime=runtime,
        folder=folder,
        train=data.train,
        validation=data.validation,
        policy=policy,
        network=network,
        average=average,
        optimizer=optimizer,
        training_step=training_step,
        steps=Steps(runtime, config.training.epochs),
        validation_step=validation_step,
        controller=controller,
        norm_limit=limit,
        history=[] if state is None else folder.read_history(state["epoch"]),
        recalls=[] if state is None else folder.read_recalls(state["epoch"]),
        class_values=[] if state is None or state["class_values"] is None else list(state["class_values"].numpy()),
        best=None if state is None else state["best"],
    )


def _state_to_resume(folder: RunFolder, config: TrainConfig, data: ExperimentData) -> dict[str, Any]:
    """The last checkpoint of a resumed run, whose images must be those it started with."""
    state = checkpoint.load(folder.checkpoint("last"))
    if not 1 <= state["epoch"] <= config.training.epochs:
        raise UsageError(
            f"resume={config.resume}: its checkpoint is of epoch {state['epoch']} of {config.training.epochs}"
        )
    if state["best"] is not None and state["best"]["epoch"] == state["epoch"]:
        checkpoint.copy(folder.checkpoint("last"), folder.checkpoint("best"))  # the run may have been killed in between
    if state["best"] is not None and not folder.checkpoint("best").is_file():
        raise UsageError(f"{folder.checkpoint('best')}: there is no such checkpoint")
    folder.check_images(data.record()["sha256"], f"resume={config.resume}")
    for name, sha256 in folder.epochs_sha256(state["epoch"]).items():
        if state["epochs_sha256"].get(name) != sha256:
            raise UsageError(
                f"resume={config.resume}: {name} was changed, or lacks lines for epochs 1 to {state['epoch']}"
            )
    return state


def describe(
    folder: RunFolder,
    config: TrainConfig,
    data: ExperimentData,
    built: BuiltModel,
    runtime: DeviceRuntime,
    *,
    resumed: bool,
) -> None:
    """Write environment.json, data.json and model.txt, and log what is about to run."""
    here = environment(runtime)
    name = "environment.json"
    if resumed:
        name = f"environment_resumed_{here['started'].replace(':', '-')}.json"
    atomic.write_json(folder.path / name, here)
    if not resumed:
        atomic.write_json(folder.data, sealed(data.record()))
        atomic.write_text(folder.path / "train_images.csv", data.train_images_csv())
        layers, line = model_summary(built, config.model, config.training.batch_size)
        atomic.write_text(folder.path / "model.txt", layers)
        log.info("%s (model.txt)", line)
    for note in data.notes:
        log.info("%s", note)
    sizes = [f"{len(data.train.labels)} training"]
    if data.validation is not None and data.validation is not data.test:
        sizes.append(f"{len(data.validation.labels)} validation")
    sizes.append(f"{len(data.test.labels)} test")
    log.info(
        "%s: %s on %s, %d classes, %s images, seed %d, runtime %s",
        config.experiment,
        model_names(config),
        data.train.source,
        len(data.train.class_names),
        " + ".join(sizes),
        config.seed,
        runtime.name,
    )
    counts = data.train.class_counts
    factor = imbalance_factor(counts)
    log.info("training images per class: %d to %d, imbalance factor %.4g", counts.min(), counts.max(), factor)
    log.info("run folder: %s", folder.path)
