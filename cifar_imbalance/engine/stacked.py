"""Trains the members of an ensemble in one step, each with its own folder, log, controller and report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from cifar_imbalance.engine.epoch_runner import EpochRunner
from cifar_imbalance.engine.experiment import OpenRun, open_run
from cifar_imbalance.engine.members import Member, failure
from cifar_imbalance.engine.prepared import Prepared, prepare
from cifar_imbalance.engine.results import report_run
from cifar_imbalance.engine.stacked_step import StackedStep
from cifar_imbalance.terminal import MemberLines, MemberTerminal, ProgressView


@dataclass(frozen=True)
class _OpenMember:
    """A member in training."""

    member: Member
    terminal: MemberTerminal
    run: OpenRun
    view: ProgressView

    @property
    def epochs_done(self) -> int:
        return len(self.run.loop.history)


class _Views(ProgressView):
    """The progress of all members of a stack."""

    def __init__(self, views: list[ProgressView]) -> None:
        self._views = views

    def show(self, **metrics: Any) -> None:
        for view in self._views:
            view.show(**metrics)


def train_stacked(members: list[Member], prepared: Prepared, lines: MemberLines) -> list[str]:
    """Train in one step; returns a message for each member that failed, without which the others go on.

    Members that were interrupted at different epochs catch up with each other before they go on together.
    """
    failures: list[str] = []

    @contextmanager
    def named(member: Member, run: OpenRun | None = None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if run is not None:
                run.log_traceback()
            failures.append(f"member {member.number}: {failure(error)}")
            lines.finished(member.number, f"failed: {failure(error)}")

    with ExitStack() as stack:
        opened: list[_OpenMember] = []
        for member in members:
            lines.started(member.number)
            with named(member):
                opened.append(_opened(member, prepared, lines, stack))
                opened[-1].run.loop.training_step.share_images(opened[0].run.loop.training_step)
        if not opened:
            return failures
        loop = opened[0].run.loop
        epochs = loop.config.training.epochs
        runner, together = EpochRunner(loop.runtime, epochs), dict[tuple[int, ...], StackedStep]()
        while training := [one for one in opened if one.epochs_done < epochs]:
            started = time.perf_counter()
            epoch = min(one.epochs_done for one in training)
            group = [one for one in training if one.epochs_done == epoch]
            loops, numbers = [one.run.loop for one in group], tuple(one.member.number for one in group)
            try:
                with group[0].run.memory_named(), lines.terminal.speaking():
                    plans = [one.begin_epoch(epoch) for one in loops]
                    if numbers not in together:
                        together = {numbers: StackedStep([one.training_step for one in loops])}
                    step = together[numbers]
                    step.begin_epoch(plans)
                    trained = runner.run(step, plans[0], _Views([one.view for one in group]))
                    step.end_epoch()
            except Exception as error:  # all of them have failed
                for one in group:
                    opened.remove(one)
                    with named(one.member, one.run):
                        raise error
                continue
            seconds = time.perf_counter() - started
            for place, one in enumerate(group):
                opened.remove(one)
                with named(one.member, one.run), one.terminal.speaking():
                    one.run.loop.end_epoch(plans[place], trained.of_member(place), seconds)
                    opened.append(one)
        for one in opened:
            with named(one.member, one.run), one.terminal.speaking():
                _report(one.run)
                lines.finished(one.member.number, one.member.result())
    return failures


def _opened(member: Member, prepared: Prepared, lines: MemberLines, stack: ExitStack) -> _OpenMember:
    config = member.continued()
    terminal = MemberTerminal(lambda message: lines.receive(member.number, message))
    stack.enter_context(terminal)
    run = stack.enter_context(
        open_run(config, member.folder.path, member.overrides, terminal, prepare(config, like=prepared))
    )
    return _OpenMember(member, terminal, run, stack.enter_context(run.loop.progress(terminal)))


def _report(run: OpenRun) -> None:
    """The report of a trained member; its trackers are sent everything at once."""
    with run.tracking(epochs_done=0) as tracked:
        for line in run.loop.history:
            tracked.log(line)
        report_run(run.loop, run.data)
        tracked.finish()
