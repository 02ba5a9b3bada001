"""In which fields two configurations differ, apart from where a run executes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.schema import leaves
from cifar_imbalance.configuration.typed import expanded

_EXECUTION = ("dataset.root", "dataset.cache_dir", "ensemble.workers", "logger", "open", "resume", "teacher")
CHANGE_RESULTS = ("runtime.precision", "runtime.compile")


def is_execution_field(field: str) -> bool:
    """Whether a field determines where a run executes or how it is drawn, not what it computes."""
    return field.startswith(("runtime.", "plots.")) or field in _EXECUTION


def fingerprint(config: TrainConfig) -> str:
    """SHA-256 of the fields that `differing_fields` compares, and of where a folder of one's own images is."""
    counting = {path: value for path, value in leaves(config) if _counts(path)}
    root = config.dataset.root
    if config.dataset.name == "image_folder" and root is not None:  # all that tells two data sets apart
        counting["dataset.root"] = str(expanded(root, "dataset.root").resolve())
    return hashlib.sha256(json.dumps(counting, sort_keys=True).encode()).hexdigest()


def differing_fields(first: TrainConfig, second: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted path of each field that differs, with its two values, `on` for a block that only one of them has.

    Fields of execution are left out, except those that change results, and the experiment, which is a name.
    """
    sides = dict(leaves(first)), dict(leaves(second))
    differing: dict[str, tuple[Any, Any]] = {}
    for path in dict.fromkeys([*sides[0], *sides[1]]):
        if not _counts(path):
            continue
        if all(path in side for side in sides) and sides[0][path] != sides[1][path]:
            differing[path] = sides[0][path], sides[1][path]
        for side, other in (sides, sides[::-1]):
            block = any(name.startswith(f"{path}.") for name in other)
            if block and path in side:
                differing[path] = ("off", "on") if side is sides[0] else ("on", "off")
    return differing


def _counts(path: str) -> bool:
    return path in CHANGE_RESULTS or not (path == "experiment" or is_execution_field(path))
