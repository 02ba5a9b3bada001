"""The process that starts a sweep: it launches the jobs that are not finished, and tells how each ended."""

from __future__ import annotations

import importlib
import shlex
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cifar_imbalance.command_line.launchers import PACKAGES, adapted
from cifar_imbalance.command_line.program import Program, Report
from cifar_imbalance.command_line.sweep import IN_TURN, Outcome, Sweep
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.runs.folder import RunFolder

SECONDS_BETWEEN_LOOKS = 1.0


def launch_sweep(program: Program, sweep: Sweep, run_hydra: Callable[[], None]) -> None:
    """Let Hydra launch the jobs that are not finished. Raises TrainingFailed, after all others, if jobs failed."""
    for number in range(len(sweep.jobs)):
        if number not in sweep.waiting:
            print(f"{sweep.label(number)}: {sweep.run_of(number)} is finished; nothing was done", flush=True)
    sweep.forget_outcomes()
    lost: str | None = None
    interrupted = False
    try:
        if sweep.waiting:
            with _launching(sweep), adapted(sweep.launcher), _telling(sweep):
                run_hydra()
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        cause = error.__cause__ or error
        if type(cause).__module__.partition(".")[0] not in PACKAGES:
            raise
        lost = f"{sweep.launcher}: {_first_sentence(cause)} ({type(cause).__name__})"
    lines = _ends(program, sweep, interrupted=interrupted, lost=lost is not None)
    print("\n".join(["", *lines]), flush=True)
    again = f"{command(program.name)} {shlex.join(sys.argv[1:])}"
    resume = f"resume with: {again}" if sweep.fingerprints else ""
    if interrupted:
        running = "the submitted jobs go on" if sweep.launcher.startswith("submitit") else ""
        raise KeyboardInterrupt("; ".join(part for part in (running, resume) if part))
    if program.report is not None and (runs := sweep.finished_runs()):
        _report(program.report, sweep, runs, again)
    failed = f"{len(program.failures)} of the sweep's jobs failed" if program.failures else ""
    if failed or lost:
        raise TrainingFailed("; ".join(part for part in (failed, lost, resume if lost else "") if part))


def _first_sentence(error: BaseException) -> str:
    """What a launcher says first, of often many lines with advice."""
    lines = str(error).strip().splitlines() or ["no message"]
    return " ".join(lines[0].split()).partition(". ")[0].rstrip(".")


@contextmanager
def _launching(sweep: Sweep) -> Iterator[None]:
    """Let Hydra's sweeper launch the waiting jobs instead of all that its arguments make."""
    # Not the class that an import at the top would find: Hydra loads it anew when it looks for plugins.
    sweeper = importlib.import_module("hydra._internal.core_plugins.basic_sweeper").BasicSweeper
    split = sweeper.split_arguments

    def waiting(_: Any, size: int | None) -> list[list[list[str]]]:
        jobs = [sweep.to_launch(number) for number in sweep.waiting]
        size = size or len(jobs)
        return [jobs[start : start + size] for start in range(0, len(jobs), size)]

    sweeper.split_arguments = staticmethod(waiting)
    try:
        yield
    finally:
        sweeper.split_arguments = staticmethod(split)


@contextmanager
def _telling(sweep: Sweep) -> Iterator[None]:
    """Print a line when a job ends, where jobs run side by side, and keep sweep.csv up to date."""
    if sweep.launcher == IN_TURN:
        yield
        return
    terminal, told, over = sys.stdout, set[int](), threading.Event()
    jobs = "1 job" if len(sweep.waiting) == 1 else f"{len(sweep.waiting)} jobs"
    print(f"{jobs} by {sweep.launcher}, in {sweep.folder}; each writes its own log", flush=True)

    def look() -> None:
        for number in sweep.waiting:
            if number not in told and (outcome := sweep.outcome(number)) is not None:
                told.add(number)
                sweep.add(number, outcome)
                print(_line(sweep, number, outcome), file=terminal, flush=True)

    def watch() -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            with suppress(OSError, UsageError):  # a file system that is away; the end reads all of it again
                look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def _line(sweep: Sweep, number: int, outcome: Outcome) -> str:
    if outcome.failed is not None:
        return sweep.failure(number, outcome)
    results = sweep.results.get(number, {})
    shown = " ".join(f"{name} {results[name]}" for name in ("accuracy", "macro_f1") if name in results)
    return f"{sweep.label(number)}: {shown or 'finished'}; {outcome.folder}"


def _ends(program: Program, sweep: Sweep, *, interrupted: bool, lost: bool) -> list[str]:
    """The lines at the end of a sweep: its table, and the jobs without an end. Failures are added to the program's."""
    lines, not_begun, not_finished = [], [], []
    for place, number in enumerate(sweep.waiting):
        if (outcome := sweep.outcome(number)) is not None:
            if outcome.failed is not None:
                program.failures.append(sweep.failure(number, outcome))
            continue
        with sweep.held(number) as held:
            if not held:
                lines.append(f"{sweep.label(number)}: another process is training it")
                continue
        run = sweep.run_of(number)
        has_begun = run is not None or place < sweep.begun
        if (interrupted or lost) and not has_begun:
            not_begun.append(number)
        elif interrupted:
            not_finished.append(number)
        else:
            log = sweep.log_of(number, f"{program.name}.log")
            why = "its process ended without a result"
            if not log.is_file():
                log, why = sweep.folder, f"{why}, or every machine has a folder of its own there"
            program.failures.append(sweep.failure(number, Outcome(run, why, log)))
    lines += [_numbered("not finished", not_finished), _numbered("not begun", not_begun)]
    return [line for line in [sweep.result(), *lines] if line]


def _report(report: Report, sweep: Sweep, runs: list[RunFolder], again: str) -> None:
    """Write the sweep's page and print where it is, and what to type next."""
    fields, page = sweep.group_by(), RunFolder(sweep.folder).page
    try:
        groups = report(sweep.folder, runs, fields, again)
    except UsageError as error:  # runs on different images, for instance: no mistake in a sweep
        print(f"page:  none: {error}", flush=True)
        return
    print(f"page:  {page}")
    print(f"next:  {_next(sweep.folder, runs, fields, groups)}", flush=True)
    if sweep.opens_page:
        webbrowser.open(page.as_uri())


def _next(folder: Path, runs: list[RunFolder], fields: list[str], groups: list[str]) -> str:
    evaluate, ckpt = command("evaluate"), as_typed("ckpt", str(folder))
    if len(groups) > 1:
        group_by = fields[0] if len(fields) == 1 else f"[{','.join(fields)}]"
        return f"{evaluate} {ckpt} {shlex.quote(f'group_by={group_by}')} {as_typed('baseline', groups[1])}"
    if len(runs) > 1:
        return f"{evaluate} {ckpt} reference=OTHER_SWEEP"
    return f"{evaluate} {as_typed('ckpt', str(runs[0].path))}"


def _numbered(what: str, numbers: list[int]) -> str:
    """`not begun: jobs 2 to 4` or `not begun: jobs 2, 4`; nothing if there are none. Numbers are from 0."""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{what}: jobs {numbers[0] + 1} to {numbers[-1] + 1}"
    listed = ", ".join(str(number + 1) for number in numbers)
    return f"{what}: {'job' if len(numbers) == 1 else 'jobs'} {listed}" if numbers else ""
