"""Terminal output: one stream of lines, to the terminal and to the run's log, and live progress while training."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LOGGER = logging.getLogger("cifar_imbalance")
EPOCHS = LOGGER.getChild("epochs")  # one line per epoch; an ensemble shows those of its members
SECONDS_BETWEEN_MESSAGES = 0.2

CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
USUAL_WIDTH = 80  # columns, where the environment says that there are none

Message = tuple[str, Any]  # ("line", text), ("steps", [done, all]) or ("metrics", the arguments of LiveLine.show)


def printable(text: str) -> str:
    """`text` with control characters, which could redraw a terminal, as \\x1b; newlines and tabs stay."""
    return text.translate(CONTROL)


def one_line(name: str) -> str:
    """A name, such as a class's, without control characters, newlines and tabs."""
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def count_of_classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class ProgressView(ABC):
    """A display of the progress of a loop, updated after each step."""

    def __enter__(self) -> ProgressView:
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
        self._console.print(printable(record.getMessage()), markup=False, highlight=False, soft_wrap=True)


class _SendingHandler(logging.Handler):
    """Sends the lines of the epochs to the terminal that shows all members of an ensemble."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == EPOCHS.name:
            self._send(("line", record.getMessage()))


class Terminal:
    """The output of one run. Lines from before the run folder exists are buffered and written to its log later.

    While it is open, it is the only handler of the package's loggers.
    """

    def __init__(self) -> None:
        self.console = Console()
        if self.console.width < 1:
            self.console.width = USUAL_WIDTH
        self._buffer = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._handlers: list[logging.Handler] = [self._display_handler(), self._buffer]
        self._others: list[logging.Handler] = []

    def _display_handler(self) -> logging.Handler:
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

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Of several that are open, this one has the lines."""
        others, LOGGER.handlers = LOGGER.handlers, list(self._handlers)
        try:
            yield
        finally:
            LOGGER.handlers = others

    def write_log(self, path: Path) -> None:
        """Append all lines, including those so far, to the log at `path`."""
        file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(_Printable())
        self._buffer.setTarget(file)
        self._buffer.flush()
        self._handlers = [self._handlers[0], file]
        LOGGER.handlers = list(self._handlers)

    def print_line(self, line: str) -> None:
        """Print and log a line of this run, whatever handlers the loggers have."""
        record = logging.LogRecord(LOGGER.name, logging.INFO, "", 0, line, None, None)
        for handler in self._handlers:
            handler.handle(record)

    def progress(self, *, steps: int, done: int) -> ProgressView:
        return LiveLine(self.console, steps=steps, done=done)


class QuietTerminal(Terminal):
    """The live line alone: the lines of a run go to its log."""

    def _display_handler(self) -> logging.Handler:
        return logging.NullHandler()


class MemberTerminal(Terminal):
    """An ensemble's member: its lines go to its own log, those of its epochs also to the ensemble's terminal."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        super().__init__()

    def _display_handler(self) -> logging.Handler:
        return _SendingHandler(self._send)

    def progress(self, *, steps: int, done: int) -> ProgressView:
        return _SentLine(self._send, steps=steps, done=done)


def _live(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[metrics]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _metrics(lr: float, images_per_second: float, loss: float | None) -> str:
    return f"{images_per_second:.0f} images/s  lr {lr:.2g}" + ("" if loss is None else f"  loss {loss:.3f}")


class LiveLine(ProgressView):
    """Progress through all steps of a run: a live line on a terminal, nothing elsewhere."""

    def __init__(self, console: Console, *, steps: int, done: int) -> None:
        self._progress = _live(console)
        self._task = self._progress.add_task("", total=steps, completed=done, metrics="")

    def __enter__(self) -> LiveLine:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, *, epoch: str, steps_done: int, lr: float, images_per_second: float, loss: float | None) -> None:
        metrics = _metrics(lr, images_per_second, loss)
        self._progress.update(self._task, description=epoch, completed=steps_done, metrics=metrics)


class _SentLine(ProgressView):
    """Sends the metrics of a member's steps as messages, a few per second."""

    def __init__(self, send: Callable[[Message], None], *, steps: int, done: int) -> None:
        self._send = send
        self._sent = 0.0
        send(("steps", [done, steps]))

    def show(self, **metrics: Any) -> None:
        now = time.monotonic()
        if now - self._sent > SECONDS_BETWEEN_MESSAGES:
            self._send(("metrics", metrics))
            self._sent = now


class MemberLines:
    """A live line for each member of an ensemble, below the lines of their epochs."""

    def __init__(self, terminal: Terminal, members: int) -> None:
        self.terminal = terminal
        self._progress = _live(terminal.console)
        self._tasks = [self._progress.add_task(f"member {k}", total=None, metrics="waiting") for k in range(members)]

    def __enter__(self) -> MemberLines:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, member: int) -> None:
        self._progress.update(self._tasks[member], metrics="starting")

    def receive(self, member: int, message: Message) -> None:
        """Show what a member's terminal sent."""
        kind, value = message
        if kind == "line":
            self.terminal.print_line(f"member {member}  {value}")
        elif kind == "steps":
            self._progress.update(self._tasks[member], completed=value[0], total=value[1])
        else:
            metrics = _metrics(value["lr"], value["images_per_second"], value["loss"])
            described = f"member {member}  {value['epoch']}"
            task = self._tasks[member]
            self._progress.update(task, description=described, completed=value["steps_done"], metrics=metrics)

    def finished(self, member: int, line: str) -> None:
        """Show in the member's line how it ended."""
        task = self._progress.tasks[self._tasks[member]]
        self._progress.update(task.id, description=f"member {member}  {line}", metrics="", total=1, completed=1)
        self.terminal.print_line(f"member {member}  {line}")
