"""What a person sees: one stream of lines, to the terminal and to the run's log, and live lines while training."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LOGGER = logging.getLogger("cifar_imbalance")
EPOCHS = LOGGER.getChild("epochs")  # a line for each epoch; an ensemble shows those of its members
SECONDS_BETWEEN_MESSAGES = 0.2

Message = tuple[str, Any]  # ("line", text), ("steps", [done, all]) or ("figures", the arguments of LiveLine.show)


class Progressing(ABC):
    """What hears of each step of a loop, while it is entered."""

    def __enter__(self) -> Progressing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    def show(self, *, epoch: str, steps_done: int, lr: float, images_per_second: float, loss: float | None) -> None: ...


class _ConsoleHandler(logging.Handler):
    """Prints lines above rich's live line instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


class _SendingHandler(logging.Handler):
    """Sends the lines of the epochs to whoever shows all members of an ensemble."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == EPOCHS.name:
            self._send(("line", record.getMessage()))


class Terminal:
    """The lines of one run. Lines from before the run folder exists are kept and written to its log later.

    While it is open, it alone hears the package's loggers.
    """

    def __init__(self) -> None:
        self.console = Console()
        self._kept = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._handlers: list[logging.Handler] = [self._shows(), self._kept]
        self._others: list[logging.Handler] = []

    def _shows(self) -> logging.Handler:
        return _ConsoleHandler(self.console)

    def __enter__(self) -> Terminal:
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        self._others = LOGGER.handlers
        LOGGER.handlers = list(self._handlers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LOGGER.handlers = self._others
        for handler in self._handlers:
            handler.close()

    def write_log(self, path: Path) -> None:
        """From here on, and for the lines so far, append to the log at `path`."""
        file = logging.FileHandler(path, encoding="utf-8")
        self._kept.setTarget(file)
        self._kept.flush()
        self._handlers = [self._handlers[0], file]
        LOGGER.handlers = list(self._handlers)

    def say(self, line: str) -> None:
        """A line of this run, whoever hears the loggers at present."""
        record = logging.LogRecord(LOGGER.name, logging.INFO, "", 0, line, None, None)
        for handler in self._handlers:
            handler.handle(record)

    def progress(self, *, steps: int, done: int) -> Progressing:
        return LiveLine(self.console, steps=steps, done=done)


class MemberTerminal(Terminal):
    """An ensemble's member: its lines go to its own log, those of its epochs also to the ensemble's terminal."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        super().__init__()

    def _shows(self) -> logging.Handler:
        return _SendingHandler(self._send)

    def progress(self, *, steps: int, done: int) -> Progressing:
        return _SentLine(self._send, steps=steps, done=done)


def _live(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[figures]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _figures(lr: float, images_per_second: float, loss: float | None) -> str:
    return f"{images_per_second:.0f} images/s  lr {lr:.2g}" + ("" if loss is None else f"  loss {loss:.3f}")


class LiveLine(Progressing):
    """Progress through all steps of a run: a live line on a terminal, nothing elsewhere."""

    def __init__(self, console: Console, *, steps: int, done: int) -> None:
        self._progress = _live(console)
        self._task = self._progress.add_task("", total=steps, completed=done, figures="")

    def __enter__(self) -> LiveLine:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, *, epoch: str, steps_done: int, lr: float, images_per_second: float, loss: float | None) -> None:
        figures = _figures(lr, images_per_second, loss)
        self._progress.update(self._task, description=epoch, completed=steps_done, figures=figures)


class _SentLine(Progressing):
    """The figures of a member's steps as messages, a few a second."""

    def __init__(self, send: Callable[[Message], None], *, steps: int, done: int) -> None:
        self._send = send
        self._sent = 0.0
        send(("steps", [done, steps]))

    def show(self, **figures: Any) -> None:
        now = time.monotonic()
        if now - self._sent > SECONDS_BETWEEN_MESSAGES:
            self._send(("figures", figures))
            self._sent = now


class MemberLines:
    """A live line for each member of an ensemble, below the lines of their epochs."""

    def __init__(self, terminal: Terminal, members: int) -> None:
        self._terminal = terminal
        self._progress = _live(terminal.console)
        self._tasks = [self._progress.add_task(f"member {k}", total=None, figures="waiting") for k in range(members)]

    def __enter__(self) -> MemberLines:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, member: int) -> None:
        self._progress.update(self._tasks[member], figures="starting")

    def receive(self, member: int, message: Message) -> None:
        """Show what a member's terminal sent."""
        kind, value = message
        if kind == "line":
            self._terminal.say(f"member {member}  {value}")
        elif kind == "steps":
            self._progress.update(self._tasks[member], completed=value[0], total=value[1])
        else:
            figures = _figures(value["lr"], value["images_per_second"], value["loss"])
            described = f"member {member}  {value['epoch']}"
            task = self._tasks[member]
            self._progress.update(task, description=described, completed=value["steps_done"], figures=figures)

    def finished(self, member: int, line: str) -> None:
        """The member's line says how it ended."""
        task = self._progress.tasks[self._tasks[member]]
        self._progress.update(task.id, description=f"member {member}  {line}", figures="", total=1, completed=1)
        self._terminal.say(f"member {member}  {line}")
