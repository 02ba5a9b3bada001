"""One run of one model, from its checked configuration to its report."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.data.experiment_data import ExperimentData
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.assembled import make_loop
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.memory import OF_TRAINING, out_of_memory_named
from cifar_imbalance.engine.prepared import Prepared, prepare
from cifar_imbalance.engine.results import model_names, report_run
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import imbalance_factor
from cifar_imbalance.models.build import BuiltModel
from cifar_imbalance.models.summary import model_summary
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.runs.folder import RunFolder, claim, in_passing
from cifar_imbalance.runs.stored import check_no_links, sealed
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.terminal import Terminal
from cifar_imbalance.trackers.tracking import Tracking, replay_command, tracking

log = logging.getLogger(__name__)


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
        yield OpenRun(make_loop(config, prepared, folder, state), prepared.data)


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
