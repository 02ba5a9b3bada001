"""Hydra runs the job or the sweep."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable

import hydra
from hydra._internal.hydra import Hydra
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from cifar_imbalance.command_line.composer import hydras_errors
from cifar_imbalance.command_line.program import Program
from cifar_imbalance.command_line.sweep_jobs import run_job
from cifar_imbalance.command_line.sweep_launch import launch_sweep
from cifar_imbalance.command_line.task import remove_empty, run_composed, task_folder
from cifar_imbalance.configuration.installed import CONF


def launch(program: Program) -> None:
    """Let Hydra run the job or the sweep. Raises a job's error, or TrainingFailed if jobs of a sweep failed."""
    # They would compose every job again, and the first once more to learn hydra.mode, which cannot be set.
    Sweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    stopped: list[Exception] = []

    def task(composed: DictConfig) -> None:
        if program.sweep is not None:
            run_job(program, program.sweep, composed)
            return
        try:
            _run(program, composed)
        except Exception as error:
            stopped.append(error)  # raised below, since Hydra would print its own lines about it

    if program.sweep is not None:
        launch_sweep(program, program.sweep, lambda: _hydra(program, task))
        return
    _hydra(program, task)
    if stopped:
        raise stopped[0]


def _hydra(program: Program, task: Callable[[DictConfig], None]) -> None:
    with hydras_errors(" ".join(sys.argv[1:])):
        hydra.main(config_path=str(CONF), config_name=program.name, version_base="1.3")(task)()


def _run(program: Program, composed: DictConfig) -> None:
    """Run what is not a sweep of listed values: one job, or one that another sweeper has sampled."""
    folder = task_folder()
    try:
        config, done = run_composed(program, composed, folder)
        if done is not None and config.open:
            webbrowser.open((done / "report" / "report.html").absolute().as_uri())
    finally:
        remove_empty(folder, program.existing)  # a resumed run has a folder of its own
