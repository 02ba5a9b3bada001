"""A job of a sweep, in whichever process a launcher runs it. How it ended is recorded in the sweep's folder."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cifar_imbalance.command_line.program import Program
from cifar_imbalance.command_line.sweep import IN_TURN, Outcome, Sweep, this_process
from cifar_imbalance.command_line.task import remove_empty, run_composed, task_folder
from cifar_imbalance.errors import TrainingFailed, UsageError


def run_job(program: Program, sweep: Sweep, composed: DictConfig) -> None:
    """Run a job, unless another process does, and record how it ended. A failed one does not affect the others."""
    number = sweep.waiting[HydraConfig.get().job.num]
    if sweep.launcher == IN_TURN:
        print(sweep.label(number), flush=True)
        sweep.begun = HydraConfig.get().job.num + 1
    folder = task_folder()
    with _without_terminal(sweep), sweep.held(number) as held:
        try:
            if not held:
                print("another process is training it", flush=True)
                return
            _, done = run_composed(program, composed, folder, begun=sweep.run_of(number))
            outcome = Outcome(done or folder)
        except Exception as error:
            outcome = _failure(program, sweep, number, error)
        finally:
            remove_empty(folder, program.existing)  # a resumed run has a folder of its own
        sweep.record(number, outcome)
    if sweep.launcher == IN_TURN:
        sweep.add(number, outcome)
        if outcome.failed is not None:
            print(sweep.failure(number, outcome), flush=True)  # at once, since the other jobs may take hours


@contextmanager
def _without_terminal(sweep: Sweep) -> Iterator[None]:
    """Where jobs run side by side, print nothing, and leave Ctrl-C to the process that started the sweep."""
    if sweep.launcher == IN_TURN:
        yield
        return
    if this_process() != sweep.started_by:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        yield


def _failure(program: Program, sweep: Sweep, number: int, error: Exception) -> Outcome:
    """The outcome of a failed job, whose log gets the traceback."""
    log = sweep.log_of(number, f"{program.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    if not log.exists() or traceback.format_exception_only(error)[-1] not in log.read_text():  # a run logs its own
        with log.open("a", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    reason = str(error) if isinstance(error, UsageError | TrainingFailed) else repr(error)
    return Outcome(sweep.run_of(number), " ".join(reason.split()), log)
