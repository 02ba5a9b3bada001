"""What is given to the library, checked once where it enters: a mistake is one line, not a stack trace from within.

All functions raise UsageError. A value is read only where that waits for no device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cifar_imbalance.configuration.values import LARGEST, LARGEST_SEED, Range
from cifar_imbalance.errors import UsageError

Array = ArrayLike | Tensor
_LABELS = Range(0, LARGEST)


def numbers(name: str, value: Any) -> NDArray[Any]:
    """An array of numbers; a tensor leaves its graph and its device."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # numpy has no bfloat16
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        expected = "an array of numbers on the CPU, or a tensor"
        raise UsageError(f"{name} are a {type(value).__name__} that is no array: expected {expected}") from None
    if not array.ndim:
        raise UsageError(f"{name}={value}: expected an array of numbers")
    if array.dtype.kind not in "iuf":
        raise UsageError(f"{name} are {_described(array)}: expected numbers")
    return array


def labels(value: Any, name: str = "labels") -> NDArray[np.int64]:
    """[n], n at least 1: whole numbers from 0."""
    array = numbers(name, value)
    if array.dtype.kind == "f" or array.ndim != 1 or not len(array):
        raise UsageError(
            f"{name} are {_described(array)}: expected whole numbers [images >= 1], a class for each image"
        )
    for end in (int(array.min()), int(array.max())):
        _LABELS.check(name, end)
    return array.astype(np.int64)


def counts(value: Any, *, classes: int | None = None) -> NDArray[np.int64]:
    """[K], K at least 2 or `classes`: images of each class, of which one has some."""
    array = numbers("counts", value)
    needed = ">= 2" if classes is None else f"= {classes}"
    if (
        array.dtype.kind == "f"
        or array.ndim != 1
        or not (len(array) >= 2 if classes is None else len(array) == classes)
    ):
        raise UsageError(
            f"counts are {_described(array)}: expected whole numbers [classes {needed}], images of each class"
        )
    if array.min() < 0 or not array.any():
        raise UsageError(f"counts are in {array.min()}..{array.max()}: expected at least 0, and one class with images")
    return array.astype(np.int64)


def weight(value: Any, *, classes: int) -> Tensor:
    """float32 [K], on the CPU: the weight of each class."""
    array = numbers("weight", value).astype(np.float32)
    if array.shape != (classes,):
        raise UsageError(f"weight is {_described(array)}: expected [classes = {classes}], a number for each of counts")
    if not np.isfinite(array).all() or array.min() < 0 or not array.any():
        raise UsageError(f"weight is in {array.min()}..{array.max()}: expected at least 0, and one more than 0")
    return torch.from_numpy(array)


def logits(value: Any, *, classes: int | None = None) -> NDArray[np.float32]:
    """float32 [n, K]."""
    with np.errstate(over="ignore"):  # refused with what is not finite
        array = numbers("logits", value).astype(np.float32)
    if classes is not None and (array.ndim != 2 or array.shape[1] != classes):
        raise UsageError(f"logits are {_described(array)}: expected [images, classes = {classes}]")
    return array


def whole(name: str, value: Any, allowed: Range) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise UsageError(f"{name}={value}: a whole number is expected")
    allowed.check(name, int(value))
    return int(value)


def seed(value: Any) -> int:
    return whole("seed", value, Range(0, LARGEST_SEED))


def class_names(value: Any, *, classes: int) -> tuple[str, ...]:
    """[K]."""
    try:
        names = () if isinstance(value, str) else tuple(map(str, value))
    except TypeError:
        names = ()
    if len(names) != classes or len(set(names)) < classes:
        raise UsageError(f"class_names={value}: expected a list of {classes} different names, one for each class")
    return names


def images(value: Any, *, count: int) -> NDArray[np.uint8]:
    """[n, height, width, 3]."""
    array = numbers("images", value)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[0] != count or array.shape[3] != 3:
        expected = f"uint8 [images = {count}, height, width, 3], one for each row of logits"
        raise UsageError(f"images are {_described(array)}: expected {expected}")
    return array


def check_batch(logits: Tensor, labels: Tensor, *, classes: int | None = None) -> None:
    """Types and shapes of logits [batch, K] and labels [batch]; reads no value, so that it can be compiled."""
    for name, value in (("logits", logits), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} are a {type(value).__name__}: expected a tensor")
    if not logits.is_floating_point() or logits.ndim != 2 or classes not in (None, logits.shape[1]):
        expected = "classes" if classes is None else f"classes = {classes}"
        raise UsageError(f"logits are {_described(logits)}: expected floating-point numbers [batch, {expected}]")
    if not _is_whole(labels) or labels.shape != logits.shape[:1]:
        raise UsageError(f"labels are {_described(labels)}: expected whole numbers [batch = {logits.shape[0]}]")


def check_image_batch(images: Tensor, *, height: int, width: int) -> None:
    if not isinstance(images, Tensor):
        raise UsageError(f"images are a {type(images).__name__}: expected a tensor")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, height, width):
        raise UsageError(f"images are {_described(images)}: expected uint8 [batch, 3, {height}, {width}], of 0..255")


def check_device(name: str, value: Tensor, of: Tensor) -> None:
    if value.device != of.device:
        raise UsageError(f"{name} are on {value.device}, the loss is on {of.device}: move it there with .to")


def check_classes(labels: Tensor, *, classes: int) -> None:
    """That labels on the CPU are of a class."""
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise UsageError(f"labels are in {labels.min()}..{labels.max()}: expected 0..{classes - 1}")


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _described(array: NDArray[Any] | Tensor) -> str:
    return f"{str(array.dtype).removeprefix('torch.')} of shape {list(array.shape)}"
