"""Hydra runs the job or the sweep; a sweep goes on after a failed job."""

from __future__ import annotations

import sys
import traceback
import webbrowser
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.command_line.composer import hydras_errors
from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.runs.rerun import going_on


def launch(program: Program) -> None:
    """Let Hydra run the job or the sweep. Raises a job's error, or TrainingFailed if jobs of a sweep failed."""
    stopped: list[Exception] = []
    sweep = program.sweep
    Sweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]  # it would compose every job again

    def task(composed: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        overrides = list(hydra_config.overrides.task)
        here = hydra_config.mode == RunMode.RUN or "BasicLauncher" in hydra_config.launcher._target_
        if sweep is not None:
            print(sweep.label(hydra_config.job.num), flush=True)
            sweep.begun = hydra_config.job.num + 1
        done: Path | None = None
        try:
            OmegaConf.resolve(composed)
            config = program.checked(composed, overrides)
            done = _run(program, config, folder, overrides)
            if done is not None and config.open:
                webbrowser.open((done / "report" / "report.html").absolute().as_uri())
            _remove_empty(folder, program.existing)  # a resumed run has a folder of its own
        except KeyboardInterrupt:
            _remove_empty(folder, program.existing)
            raise
        except Exception as error:
            _remove_empty(folder, program.existing)
            if hydra_config.mode == RunMode.MULTIRUN:
                _record_failure(program, folder, overrides, error)
            if not here:  # another process: Hydra passes the error on
                raise
            stopped.append(error)  # raised below, since Hydra would print its own lines about it
        if sweep is not None and here and program.has_results:
            sweep.add(hydra_config.job.num, done)

    try:
        with hydras_errors(" ".join(sys.argv[1:])):
            hydra.main(config_path=str(CONF), config_name=program.name, version_base="1.3")(task)()
    finally:
        if sweep is not None and (text := sweep.result()):
            print(f"\n{text}")
    if program.failures:
        raise TrainingFailed(f"{len(program.failures)} of the sweep's jobs failed")
    if stopped:
        raise stopped[0]


def _run(program: Program, config: Any, folder: Path, overrides: list[str]) -> Path | None:
    """Run a job, or go on with it: the run of an earlier sweep in this folder is resumed, a finished one is kept."""
    if program.sweep is None or not isinstance(config, TrainConfig):
        return program.run(config, folder, overrides)
    number = HydraConfig.get().job.num
    with program.sweep.held(number) as held:
        if not held:
            print("another process is training it", flush=True)
            return None
        return program.run(going_on(config, program.sweep.folders[number]), folder, overrides)


def _record_failure(program: Program, folder: Path, overrides: list[str], error: Exception) -> None:
    """A sweep continues after a failed job: the traceback goes to the job's log, its name to the end of the output."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{program.name}.log"
    if not log.exists() or traceback.format_exception_only(error)[-1] not in log.read_text():  # a run logs its own
        with log.open("a", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    reason = " ".join((str(error) if isinstance(error, UsageError | TrainingFailed) else repr(error)).split())
    number = HydraConfig.get().job.num
    job = f"job {number}: {' '.join(overrides)}" if program.sweep is None else program.sweep.label(number)
    program.failures.append(f"{job}: failed: {reason}; see {log}")
    print(program.failures[-1], flush=True)  # at once, since the other jobs may take hours


def _remove_empty(folder: Path, existing: set[Path]) -> None:
    """Remove the folder that Hydra created for a run that never started, and the parents created for it."""
    folder = folder.absolute()
    while folder not in existing and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
