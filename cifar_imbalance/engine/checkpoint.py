"""Checkpoints: the complete state of a run after an epoch, in one file that is written atomically."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cifar_imbalance import atomic
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.weights import check_tensors

# What a checkpoint contains. The tensors' shapes are checked by whoever loads them into a model or an optimiser.
CONTENT: dict[str, tuple[type, ...]] = {
    "epoch": (int,),
    "model": (dict,),
    "average": (dict, type(None)),
    "optimizer": (dict,),
    "best": (dict, type(None)),
    "controller": (dict,),
    "class_values": (Tensor, type(None)),
    "norm_limit": (float, type(None)),
    "model_name": (str,),
    "class_names": (list,),
    "train_images": (list,),
    "epochs_sha256": (dict,),
}


def digest(value: Any) -> str:
    """SHA-256 of nested dictionaries of tensors and plain values, in their order."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                sha.update(repr(key).encode())
                add(inner)
        elif isinstance(value, Tensor):
            sha.update(f"{value.dtype}{tuple(value.shape)}".encode())
            sha.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            sha.update(repr(value).encode())

    add(value)
    return sha.hexdigest()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors on the host) with its checksum."""
    buffer = io.BytesIO()
    torch.save({**state, "sha256": digest(state)}, buffer)
    atomic.write(path, lambda file: file.write(buffer.getbuffer()))


def copy(source: Path, target: Path) -> None:
    """Atomically make `target` a hard link to `source`, or a copy if the file system has no hard links."""
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # renaming a link to the same file leaves both


def is_one(path: Path) -> bool:
    """Whether a file is a checkpoint of a run, wherever it is, and not weights from elsewhere."""
    try:
        return "class_names" in torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # something else, or damaged: reading it reports that
        return False


def load(path: Path) -> dict[str, Any]:
    """Read and verify a checkpoint, tensors and plain values only. Raises UsageError if it is damaged or missing."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        checksum = state.pop("sha256")
        check_tensors(state)
        correct = digest(state)
    except Exception as error:  # damaged files raise many kinds of exceptions
        raise UsageError(f"{path}: is not a complete checkpoint of a run ({type(error).__name__})") from error
    if checksum != correct:
        raise UsageError(f"{path}: the checkpoint is damaged (its checksum does not match its content)")
    wrong = [name for name, kinds in CONTENT.items() if not isinstance(state.get(name, ...), kinds)]
    if not (wrong or all(isinstance(name, str) for name in state["class_names"])):
        wrong = ["class_names"]
    if not (wrong or all(isinstance(count, int) for count in state["train_images"])):
        wrong = ["train_images"]
    if not (wrong or state["best"] is None or _is_best(state["best"], state["epoch"])):
        wrong = ["best"]
    if wrong:
        raise UsageError(f"{path}: is not a complete checkpoint of a run (its {wrong[0]} is missing or something else)")
    return state


def check_alike(state: Any, expected: Any) -> None:
    """Raises ValueError unless nested dictionaries have the same keys, and their tensors the same shapes and types.

    An optimiser's fused kernels trust its state: a tensor that is too small would be read and written beyond its end.
    """
    if isinstance(expected, Mapping):
        if not isinstance(state, Mapping) or state.keys() != expected.keys():
            raise ValueError("its entries are not those of this optimizer")
        for key, value in expected.items():
            check_alike(state[key], value)
    elif isinstance(expected, Tensor) and not (
        isinstance(state, Tensor) and (state.shape, state.dtype) == (expected.shape, expected.dtype)
    ):
        raise ValueError("a tensor has another shape or type")


def _is_best(best: dict[str, Any], last: int) -> bool:
    """Whether this can be the best of the epochs up to `last`."""
    numbers = [best.get(name) for name in ("epoch", "value", "loss")]
    return all(isinstance(number, int | float) for number in numbers) and best["epoch"] in range(1, last + 1)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Raises UsageError if what the block loads from the checkpoint `path` does not fit."""
    try:
        yield
    except (RuntimeError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: does not fit the run's model and optimiser ({type(error).__name__})") from error
