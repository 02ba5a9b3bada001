"""Saved logits: what an evaluation writes, and the only input of metrics, tables, plots and comparisons."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.errors import UsageError
from cifar_imbalance.terminal import one_line

_ARRAYS = {"logits": np.float32, "labels": np.int64, "indices": np.int64, "hashes": np.uint64}


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions on n images (n >= 1) of K classes (K >= 2).

    Raises ValueError for arrays of other shapes or types, logits that are not finite, labels outside 0..K-1 or a wrong
    number of class names.
    """

    logits: NDArray[np.float32]  # [n, K]
    labels: NDArray[np.int64]  # [n], 0..K-1
    indices: NDArray[np.int64]  # [n], position of each image in its data set
    hashes: NDArray[np.uint64]  # [n], of each image's pixels, by which the images of two runs are paired
    class_names: tuple[str, ...]  # [K]
    train_images: NDArray[np.int64] | None = None  # [K], training images of each class; None: unknown
    files: NDArray[Any] | None = None  # [n], SPLIT/CLASS/IMAGE of each image; None if they are not files

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.logits.shape[0] < 1 or self.logits.shape[1] < 2:
            raise ValueError(f"logits have shape {self.logits.shape}: expected [images >= 1, classes >= 2]")
        images, classes = self.logits.shape
        for name, dtype in _ARRAYS.items():
            array = getattr(self, name)
            if array.dtype != dtype:
                raise ValueError(f"{name} are {array.dtype}: expected {np.dtype(dtype)}")
            if name != "logits" and array.shape != (images,):
                raise ValueError(f"{name} have shape {array.shape}: expected [{images}], one for each row of logits")
        if wrong := int((~np.isfinite(self.logits)).any(axis=1).sum()):
            raise ValueError(f"the logits of {wrong} of {images} images are not finite")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise ValueError(f"labels are in {self.labels.min()}..{self.labels.max()}: expected 0..{classes - 1}")
        if len(self.class_names) != classes:
            raise ValueError(f"there are {len(self.class_names)} class names for {classes} columns of logits")
        if self.files is not None and (self.files.shape != (images,) or self.files.dtype.kind != "U"):
            raise ValueError(f"files are {self.files.dtype} of shape {self.files.shape}: expected [{images}] texts")
        if (counts := self.train_images) is None:
            return
        if counts.shape != (classes,) or counts.dtype != np.int64:
            raise ValueError(f"train_images are {counts.dtype} of shape {counts.shape}: expected [{classes}] int64")
        if counts.min() < 0 or counts.max() < 1:
            raise ValueError(f"train_images are in {counts.min()}..{counts.max()}: expected at least 0, and one image")

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of each image's largest logit [n], the first of equal ones."""
        return self.logits.argmax(axis=1)

    def take(self, places: NDArray[np.int64]) -> Predictions:
        """The predictions on the images at `places`, in that order."""
        files = None if self.files is None else self.files[places]
        return replace(self, **{name: getattr(self, name)[places] for name in _ARRAYS}, files=files)

    def save(self, path: Path) -> None:
        """Write the npz file `path` atomically; equal predictions give equal bytes."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.train_images is not None:
            arrays["train_images"] = self.train_images
        if self.files is not None:
            arrays["files"] = self.files
        atomic.write(path, lambda file: np.savez(file, **arrays, class_names=np.array(self.class_names, dtype=str)))

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote. Raises UsageError if `path` is missing or anything else; nothing is unpickled."""
        try:
            if not path.is_file():
                raise FileNotFoundError
            with zipfile.ZipFile(path) as archive:
                _check_sizes(archive, path.stat().st_size)
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in _ARRAYS}
                names = tuple(one_line(str(name)) for name in stored["class_names"])
                optional = {name: stored.get(name) for name in ("train_images", "files")}
                return cls(**arrays, class_names=names, **optional)
        except FileNotFoundError:
            raise UsageError(f"predictions={path}: there is no such file") from None
        except Exception as error:  # a damaged header alone is read by Python's own parser, which raises many kinds
            expected = "an .npz file of logits, labels, indices, hashes and class_names"
            raise UsageError(f"predictions={path}: expected {expected} ({error})") from None


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError if an array is longer than its file: compressed, or with a shape beyond its data."""
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
            raise ValueError(f"{entry.filename} is compressed or longer than the file")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} promises {math.prod(shape)} values, which it does not have")
