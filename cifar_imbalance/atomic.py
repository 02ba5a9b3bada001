"""Atomic file writes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Write a temporary file next to `path` with `writer`, flush it to disk and rename it to `path`."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            writer(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk's error names no file, others the temporary one
        raise


def create_text(path: Path, text: str) -> None:
    """Write `path`, of which a reader sees all or nothing. Raises FileExistsError if it exists: one process creates it.

    On a file system without hard links (exFAT, some network drives) a reader may see it half written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    write_text(draft, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    finally:
        draft.unlink()


def remove_partial_files(folder: Path) -> None:
    """Delete the temporary files that a killed process left in `folder`. No other process may be writing there."""
    for temporary in folder.glob(".*.part"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
