"""Locks on files, between processes. The system releases them however a process ends.

Of `fcntl` and `msvcrt` a system has one. Windows hides a locked byte from other readers, so bytes behind any end are
locked there.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import IO, Any

log = logging.getLogger(__name__)

if sys.platform == "win32":
    import msvcrt

    BEHIND_ANY_END = 1 << 56

    def lock(file: IO[Any], wait: bool = False) -> None:
        """Lock an open file. Raises BlockingIOError if another process has it and `wait` is false."""
        lock_byte(file, 0, wait)

    def lock_byte(file: IO[Any], place: int, wait: bool = False) -> None:
        """Lock one byte of an open file, which may be behind its end. Raises BlockingIOError like `lock`."""
        os.lseek(file.fileno(), BEHIND_ANY_END + place, os.SEEK_SET)
        while True:
            try:
                return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    raise BlockingIOError from None
                time.sleep(0.1)
else:
    import fcntl

    def lock(file: IO[Any], wait: bool = False) -> None:
        """Lock an open file. Raises BlockingIOError if another process has it and `wait` is false."""
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def lock_byte(file: IO[Any], place: int, wait: bool = False) -> None:
        """Lock one byte of an open file, which may be behind its end. Raises BlockingIOError like `lock`."""
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)


def acquire(file: IO[Any], *, place: int | None = None, wait: bool = False) -> bool:
    """Whether this process has the lock of an open file now, or of its byte `place`; with `wait`, it always gets it.

    A file system without locks gives it to every process, which is logged.
    """
    try:
        if place is None:
            lock(file, wait)
        else:
            lock_byte(file, place, wait)
    except BlockingIOError:
        return False
    except OSError:
        log.info("%s: its file system has no locks; do not train there from another process", file.name)
    return True
