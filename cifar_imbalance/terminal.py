"""What a person sees: one stream of lines, to the terminal and to the run's log, and a live line while training."""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LOGGER = logging.getLogger("cifar_imbalance")


class _ConsoleHandler(logging.Handler):
    """Prints lines above rich's live line instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


class Terminal:
    """The lines of one run. Lines from before the run folder exists are kept and written to its log later."""

    def __init__(self) -> None:
        self.console = Console()
        self._kept = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._handlers: list[logging.Handler] = [_ConsoleHandler(self.console), self._kept]

    def __enter__(self) -> Terminal:
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        for handler in self._handlers:
            LOGGER.addHandler(handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler in self._handlers:
            LOGGER.removeHandler(handler)
            handler.close()

    def write_log(self, path: Path) -> None:
        """From here on, and for the lines so far, append to the log at `path`."""
        file = logging.FileHandler(path, encoding="utf-8")
        self._kept.setTarget(file)
        self._kept.flush()
        LOGGER.removeHandler(self._kept)
        LOGGER.addHandler(file)
        self._handlers = [self._handlers[0], file]


class LiveLine:
    """Progress through all steps of a run: a live line on a terminal, nothing elsewhere."""

    def __init__(self, console: Console, *, steps: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=steps, completed=done, figures="")

    def __enter__(self) -> LiveLine:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, *, epoch: str, steps_done: int, lr: float, images_per_second: float, loss: float | None) -> None:
        figures = f"{images_per_second:.0f} images/s  lr {lr:.2g}" + ("" if loss is None else f"  loss {loss:.3f}")
        self._progress.update(self._task, description=epoch, completed=steps_done, figures=figures)
