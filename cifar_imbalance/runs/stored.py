"""Reading a run's own files, which may be damaged or made by a stranger: what they are is checked before it is trusted.

config.yaml, data.json and summary.json carry a checksum of their content, so that a change of one digit is noticed.
Everything raises UsageError, which names the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from omegaconf import OmegaConf

from cifar_imbalance.errors import UsageError

LARGEST_FILE = 256 * 2**20  # bytes of a file of text
NONBLOCKING = getattr(os, "O_NONBLOCK", 0)  # Windows has neither the flag nor pipes among files
LARGEST_CONFIG = 256 * 2**10  # bytes: YAML is read slowly, and a real one has 3 kB
SEAL = "# sha256: "
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError, yaml.YAMLError)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, by which a small file can become a huge configuration."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


# ---------------------------------------------------------------- text
def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """The UTF-8 text of a regular file of at most `largest` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NONBLOCKING)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
                raise UsageError(f"{path}: a regular file of at most {largest >> 10} KiB is expected")
            return file.read().decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: Path, why: object) -> UsageError:
    return UsageError(f"{path}: it is damaged or not a file of a run ({str(why)[:200]})")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- configurations
def sealed_yaml(config: Any) -> str:
    """The YAML of a configuration, with its checksum in the last line."""
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    return f"{text}{SEAL}{sha256(text)}\n"


def plain_values(path: Path, content: str) -> dict[str, Any]:
    """The values in the `content` of a sealed YAML file, without interpolations, which could read the environment, and
    without aliases.
    """
    text, seal, checksum = content.rpartition(SEAL)
    if not seal or checksum.strip() != sha256(text):
        raise damaged(path, "its checksum, in the last line, is not that of its content: it was changed")
    if "${" in text:
        raise damaged(path, "it contains ${...}: a run's own configuration has plain values alone")
    try:
        values = yaml.load(text, _PlainLoader)
        # An escape in YAML can be half of a pair of surrogates, which no file name has.
        json.dumps(values, ensure_ascii=False).encode()
    except DAMAGE as error:
        raise damaged(path, error) from error
    if not isinstance(values, dict):
        raise damaged(path, "a mapping is expected")
    return values


def is_sealed_yaml(path: Path) -> bool:
    """Whether this is a configuration that a program of ours wrote, unchanged."""
    try:
        plain_values(path, read_text(path, LARGEST_CONFIG))
    except UsageError:
        return False
    return True


# ---------------------------------------------------------------- JSON
def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with its checksum as the last entry, ready for JSON."""
    return {**content, "checksum": _checksum(content)}


def read_json(path: Path, required: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """The object in a sealed JSON file, without its checksum; it has the `required` entries, of these types."""
    try:
        content = json.loads(read_text(path))
        checksum = content.pop("checksum")
        changed = checksum != _checksum(content)
    except DAMAGE as error:
        raise damaged(path, error) from error
    if changed:
        raise damaged(path, "its checksum is not that of its content: it was changed")
    for name, kind in required.items():
        if not isinstance(content.get(name), kind):
            raise damaged(path, f"{name} is missing, or not as it should be")
    return dict(content)


def read_json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    """The objects in the lines of `text`, which is that of `path`."""
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except DAMAGE as error:
        raise damaged(path, error) from error
    if not all(isinstance(line, dict) for line in lines):
        raise damaged(path, "an object in every line is expected")
    return lines


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True))


# ---------------------------------------------------------------- folders
def check_no_links(folder: Path, owner: str) -> None:
    """Raises UsageError for a link in a run's folder, through which a run would write elsewhere, and for a pipe."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(place, name)).is_symlink():
                raise UsageError(f"{owner}: {path} is a link; a run writes into its own folder alone")
            if not (path.is_file() or path.is_dir()):
                raise UsageError(f"{owner}: {path} is neither a file nor a folder")
