"""Answers of the compiler, kept by what it was given: compiling the same step again takes no time."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cifar_imbalance import atomic
from cifar_imbalance.preflight import compiler, program_text

PACKAGES = ("jaxlib", "libtpu")


class Cache:
    """Files in `folder`, named by program, topology, versions, and the code that asks and counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        sources = [Path(str(module.__file__)).read_bytes() for module in (compiler, program_text)]
        self._versions = [version(name).encode() for name in PACKAGES] + sources

    def read(self, program: Path, topology: str | None) -> dict[str, Any] | None:
        file = self._file(program, topology)
        try:
            answer: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return answer

    def write(self, program: Path, topology: str | None, answer: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(self._file(program, topology), answer)

    def _file(self, program: Path, topology: str | None) -> Path:
        key = hashlib.sha256()
        for part in (program.read_bytes(), str(topology).encode(), *self._versions):
            key.update(hashlib.sha256(part).digest())
        return self._folder / f"{key.hexdigest()}.json"
