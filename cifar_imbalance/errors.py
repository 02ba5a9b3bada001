"""What ends a run early: two errors and a signal; the messages for an invalid value."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from typing import NoReturn

EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


class UsageError(Exception):
    """Invalid input. The message is one line that names the field, the value and what is allowed; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class TrainingFailed(Exception):
    """The run itself failed, for example because the loss is not finite. One line; exit code 1."""


def end_quietly() -> None:
    """Until a program has handlers of its own, Ctrl-C while modules are imported ends it without a stack trace."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt_once(number: int, frame: object) -> NoReturn:
    """A signal's handler: raises KeyboardInterrupt, and lets further signals be ignored while the program ends."""
    for one in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN: if another signal has arrived already, Python would print "ignored due to race condition".
        signal.signal(one, lambda *_: None)
    raise KeyboardInterrupt


def nearest(value: str, allowed: Iterable[str]) -> str:
    """' (did you mean NAME?)' if an allowed name is close to `value`, else an empty string."""
    matches = difflib.get_close_matches(str(value), [str(name) for name in allowed], n=1, cutoff=0.6)
    return f" (did you mean {matches[0]}?)" if matches else ""


def choose_from(field: str, value: object, allowed: Iterable[str]) -> UsageError:
    """The error for a `value` that is not one of the `allowed` names of `field`."""
    names = list(allowed)
    return UsageError(f"{field}={value}{nearest(str(value), names)}: allowed are {', '.join(names)}")
