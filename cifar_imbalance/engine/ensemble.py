"""An ensemble: members are separate runs, in parallel on a CPU; their saved logits are combined at the end."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from cifar_imbalance.configuration.differences import differing_fields
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.engine.experiment import describe, finished_run, run_experiment
from cifar_imbalance.engine.members import Member, failure, member_configs, workers_and_threads
from cifar_imbalance.engine.prepared import Prepared, prepare
from cifar_imbalance.engine.results import report_ensemble
from cifar_imbalance.engine.stacked import train_stacked
from cifar_imbalance.errors import TrainingFailed, UsageError, interrupt_once
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.runs.folder import RunFolder, claim
from cifar_imbalance.runs.stored import check_no_links
from cifar_imbalance.terminal import MemberLines, MemberTerminal, Message, Terminal
from cifar_imbalance.trackers.tracking import tracking

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

Send = Callable[[Message], None]


def run_ensemble(config: TrainConfig, path: Path, overrides: list[str], terminal: Terminal | None = None) -> Path:
    """Train the unfinished members, combine their logits, write the report. `path` is the folder to create;
    if another run has it, the next free one is. Returns it. A finished ensemble is left as it is.

    Raises UsageError before the folder is touched, like `run_experiment`; TrainingFailed, which names the failed
    members, after the others have finished.
    """
    with terminal or Terminal() as terminal:
        canvas.use(config.plots)
        if (finished := finished_run(config)) is not None:
            return finished
        configs = member_configs(config)
        prepared = _prepared(config, configs)
        on_cpu = prepared.runtime.name == "cpu"
        together = config.ensemble.together or ("workers" if on_cpu else "one_by_one")
        ensemble = replace(config.ensemble, together=together)
        config = replace(config, runtime=prepared.runtime.settled(config.runtime), ensemble=ensemble)
        folder = _folder(config, configs, path, overrides, prepared)
        with folder.held():
            if config.resume is not None:
                check_no_links(folder.path, f"resume={config.resume}")
                folder.tidy()
            terminal.write_log(folder.log)
            resumed = folder.data.is_file()
            describe(folder, config, prepared.data, prepared.built, prepared.runtime, resumed=resumed)
            started = time.perf_counter()
            _train_members(config, configs, folder, overrides, terminal, prepared)
            seconds = time.perf_counter() - started
            report_ensemble(config, folder, prepared.data, wall_seconds=None if config.resume else round(seconds))
            with tracking(config.logger, folder, config) as tracked:
                tracked.finish()
        return folder.path


def _train_members(
    config: TrainConfig,
    configs: list[TrainConfig],
    folder: RunFolder,
    overrides: list[str],
    terminal: Terminal,
    prepared: Prepared,
) -> None:
    """Train the unfinished members. Raises TrainingFailed, which names those that failed."""
    together, workers, threads = config.ensemble.together, 1, config.runtime.threads
    if together == "workers" and threads is not None:
        workers, threads = workers_and_threads(config.ensemble, cores=threads)
    members = [
        Member(k, replace(one, runtime=replace(one.runtime, threads=threads)), folder.member(k), overrides)
        for k, one in enumerate(configs)
    ]
    finished = [member for member in members if member.folder.is_finished]
    pending = [member for member in members if member not in finished]
    how = f"{workers} at a time, {threads} thread(s) each" if workers > 1 else "one after another"
    if together == "stacked":
        how = "all in one step"
    log.info("%d members, %d of them finished; %s", len(members), len(finished), how)
    try:
        with MemberLines(terminal, len(members)) as lines:
            for member in finished:
                lines.finished(member.number, member.result())
            if together == "stacked":
                failures = train_stacked(pending, prepared, lines)
            else:
                failures = _side_by_side(pending, workers, lines) if workers > 1 else _one_by_one(pending, lines)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"resume with: {command('train')} {as_typed('resume', str(folder.path))}") from None
    if failures:
        raise TrainingFailed(
            f"{len(failures)} of {len(members)} members failed: {'; '.join(failures)}; "
            f"resume with: {command('train')} {as_typed('resume', str(folder.path))}"
        )


def _prepared(config: TrainConfig, configs: list[TrainConfig]) -> Prepared:
    """The first member, prepared, after every member has been checked.

    Members that differ only by seed fail the same checks, so only one of them is prepared. In a resumed ensemble,
    members that have a checkpoint no longer need their weights file; the others do.
    """
    kinds: dict[str, TrainConfig] = {}
    for number, one in enumerate(configs):
        begun = config.resume is not None and _resumed(config).member(number).checkpoint("last").is_file()
        one = replace(one, resume=config.resume if begun else None)
        kinds.setdefault(repr(replace(one, seed=0)), one)
    return [prepare(one) for one in kinds.values()][0]  # noqa: RUF015 (all are prepared, for their checks)


def _resumed(config: TrainConfig) -> RunFolder:
    """The folder of the ensemble to resume."""
    return RunFolder(expanded(str(config.resume), "resume"))


def _folder(
    config: TrainConfig, configs: list[TrainConfig], path: Path, overrides: list[str], prepared: Prepared
) -> RunFolder:
    """The ensemble's folder, new or resumed."""
    if config.resume is None:
        return claim(path, config, overrides, ("members", "predictions", "report"))
    folder = _resumed(config)
    if folder.data.is_file():
        folder.check_images(prepared.data.record()["sha256"], f"resume={config.resume}")
    for member, expected in zip(folder.members(config), configs, strict=True):
        if member.config.is_file():
            _check_member(member, expected)
    return folder


def _check_member(member: RunFolder, expected: TrainConfig) -> None:
    """Raises UsageError if a begun member of a resumed ensemble is another run."""
    differing = differing_fields(expected, member.read_config())
    differing.pop("model.weights", None)  # may have moved since
    for name, (here, there) in differing.items():
        raise UsageError(f"{member.path}: it is not a member of this ensemble ({name} is {there} instead of {here})")


# ---------------------------------------------------------------- training
def _train(member: Member, send: Send) -> None:
    """Train a member from its last checkpoint, or from the beginning if it has none."""
    run_experiment(member.continued(), member.folder.path, member.overrides, MemberTerminal(send))


def _one_by_one(members: list[Member], lines: MemberLines) -> list[str]:
    """Train in this process; returns a message for each member that failed."""
    failures = []
    for member in members:
        lines.started(member.number)
        try:
            _train(member, lambda message, number=member.number: lines.receive(number, message))  # type: ignore[misc]
            lines.finished(member.number, member.result())
        except Exception as error:
            failures.append(f"member {member.number}: {failure(error)}")
            lines.finished(member.number, f"failed: {failure(error)}")
    return failures


def _side_by_side(members: list[Member], workers: int, lines: MemberLines) -> list[str]:
    """Train in `workers` processes at a time; returns a message for each member that failed."""
    waiting, failures = list(members), []
    running: dict[Connection, tuple[Member, SpawnProcess]] = {}
    reasons: dict[int, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                member = waiting.pop(0)
                running.update([_start(member)])
                lines.started(member.number)
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                member, process = running[connection]
                try:
                    kind, value = connection.recv()
                except EOFError:
                    process.join()
                    del running[connection]
                    if process.exitcode == 0:
                        lines.finished(member.number, member.result())
                        continue
                    reason = reasons.get(member.number) or _exit_reason(process.exitcode)
                    failures.append(f"member {member.number}: {reason}")
                    lines.finished(member.number, f"failed: {reason}")
                    continue
                if kind == "failed":
                    reasons[member.number] = value
                else:
                    lines.receive(member.number, (kind, value))
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
    return failures


def _start(member: Member) -> tuple[Connection, tuple[Member, SpawnProcess]]:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive fork
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(member, theirs), daemon=True)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the ensemble handles Ctrl-C
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, interrupt)
    theirs.close()
    return ours, (member, process)


def _work(member: Member, connection: Connection) -> None:
    """The worker process. If the ensemble's process is gone, the pipe is broken and it ends as if interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows does not inherit it
    signal.signal(signal.SIGTERM, interrupt_once)  # partial files are then removed

    def send(message: Message) -> None:
        try:
            connection.send(message)
        except BrokenPipeError:
            raise KeyboardInterrupt from None

    try:
        try:
            _train(member, send)
        except Exception as error:
            send(("failed", failure(error)))
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(1)


def _exit_reason(code: int | None) -> str:
    return f"killed by signal {-code}" if code is not None and code < 0 else f"its process ended with code {code}"
