"""Paths on the command line: typed without quotes they are read all the same, and printed they can be pasted."""

from __future__ import annotations

import os
import re
import shlex
import sys
import unicodedata
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from cifar_imbalance.errors import UsageError

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "output")  # Hydra creates them, and leaves ~ as it is
PATHS = (
    *FOLDERS,
    "ckpt",
    "resume",
    "repeat",
    "start",
    "teacher",
    "reference",
    "images",
    "dataset.root",
    "dataset.cache_dir",
    "model.weights",
    "keras_python",
)
LONGEST_NAME = 255  # bytes, on every usual file system
LONGEST_PATH = 4000  # bytes: Linux has 4,096, and a run adds the names of its files


def as_typed(field: str, value: str) -> str:
    """FIELD=VALUE for a shell: `ckpt=run`, or `'ckpt="a (1)"'` where shell or Hydra would read it otherwise.

    What this terminal cannot show is written as in `$'ckpt=\\xc3\\xbc'`, which bash and zsh read.
    """
    word = as_override(field, value)
    if _shown(word):
        return shlex.quote(word)
    plain_bytes = set(range(32, 127)) - set(b"\\'")
    escaped = (chr(byte) if byte in plain_bytes else f"\\x{byte:02x}" for byte in _encoded(word))
    return f"$'{''.join(escaped)}'"


def as_override(field: str, value: str) -> str:
    """FIELD=VALUE for Hydra: `ckpt=run`, or `ckpt="a (1)"` where it would read it otherwise."""
    plain = f"{field}={value}"
    return plain if _read(plain) == value else _quoted(field, value)


def readable(text: str) -> str:
    """The override `text`, quoted if it is a path that Hydra's grammar cannot read.

    In folders that Hydra creates, ~ is expanded; raises UsageError for the home folder of an unknown user.
    """
    field, equals, value = text.partition("=")
    if field not in PATHS or not equals:
        return text
    if field in FOLDERS and value.startswith("~"):
        value = str(expanded(value, field))
        text = f"{field}={value}"
    return text if value == "" or parsed_override(text) is not None else _quoted(field, value)


def expanded(value: str, field: str) -> Path:
    """The path of a field, with ~ expanded. Raises UsageError for an unknown home folder or a name that is too long."""
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        reason = "there is no home folder here" if value.split("/")[0] == "~" else "there is no such user"
        raise UsageError(f"{field}={value}: {reason}; write the whole path, {field}=PATH") from None
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise UsageError(f"{field}={value!a}: it has a character that no file name can have") from None
    if length > LONGEST_PATH:
        raise UsageError(f"{field}={value[:20]}...: it is longer than {LONGEST_PATH} bytes, the longest path")
    for name in path.parts:
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise UsageError(f"{field}={value}: {name[:20]}... is longer than {LONGEST_NAME} bytes, the longest name")
    return path


def _encoded(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:  # half of a pair of surrogates, which no argument of a program can be
        return text.encode("utf-8", "backslashreplace")


def _shown(text: str) -> bool:
    """Whether standard output shows this text: it has the characters, and none controls the terminal."""
    if any(unicodedata.category(character) == "Cc" for character in text):
        return False
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _quoted(field: str, value: str) -> str:
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped).replace("${", "\\${")
    return f'{field}="{escaped}"'


def parsed_override(text: str) -> Override | None:
    """The override as Hydra parses it; None if it cannot."""
    try:
        return OverridesParser.create().parse_override(text)
    except Exception:  # for some texts not its own: a number of 5,000 digits, brackets that are nested too deep
        return None


def _read(text: str) -> object:
    """The value that Hydra reads from FIELD=VALUE; None if it cannot, or if it reads several."""
    override = None if "${" in text else parsed_override(text)
    return None if override is None or override.is_sweep_override() else override.value()
