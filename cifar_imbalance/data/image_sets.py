"""The image sets available in a configuration: uint8 images with labels, class names and identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.fields import Dataset
from cifar_imbalance.configuration.image_folder import SPLITS, has_splits
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.data import torchvision_cifar
from cifar_imbalance.data.cache import load_or_build
from cifar_imbalance.data.class_folders import (
    ClassFolders,
    list_split_folders,
    list_test_folders,
    list_unsplit_folders,
)
from cifar_imbalance.data.decode import Size, resized_array, square
from cifar_imbalance.data.decode_folders import write_class_folders
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.errors import UsageError
from cifar_imbalance.terminal import one_line

CIFAR_CLASSES = {"cifar10": 10, "cifar100": 100}
CIFAR_SIDE = 32  # pixels
DIGITS_TEST_SHARE = 0.3


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in a fixed order, n >= 1. `images` may be memory-mapped and read-only."""

    images: NDArray[np.uint8]  # [n, height, width, 3]
    labels: NDArray[np.int64]  # [n]
    hashes: NDArray[np.uint64]  # [n], see identity.image_hash
    indices: NDArray[np.int64]  # [n], positions in the source's split
    class_names: tuple[str, ...]
    source: str
    files: tuple[str, ...] | None = None  # [n], SPLIT/CLASS/IMAGE or CLASS/IMAGE; None if the images are not files

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Images of each class [K]."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def take(self, indices: NDArray[np.int64]) -> ImageSet:
        """The images at these positions of this set; the result's `indices` still refer to the source's split."""
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            hashes=self.hashes[indices],
            indices=self.indices[indices],
            files=self.files and tuple(self.files[index] for index in indices),
        )


Loaded = tuple[ImageSet, ImageSet, list[str]]  # train, test, notes for the log


def load_image_folder(dataset: Dataset) -> Loaded:
    """A tree of class folders under dataset.root; see class_folders.py, and decode.py for how files are decoded."""
    if dataset.root is None:
        raise UsageError(
            "dataset.root=null: image_folder needs a folder with train/CLASS and test/CLASS in it, or CLASS"
        )
    root = _absolute(dataset.root)
    if has_splits(root):
        return _load_folders(dataset, list_split_folders(root), None)
    tree = list_unsplit_folders(root, test_fraction=dataset.test_fraction, test_seed=dataset.test_seed)
    return _load_folders(dataset, tree, None)


def load_test_folders(
    root: str, class_names: Sequence[str], size: Size, *, cache_dir: str, owner: str
) -> tuple[ImageSet, list[str]]:
    """Images of some of the classes `class_names`, resized to `size`, and notes; see class_folders.list_test_folders.

    `owner` is the field of the configuration that names `root`.
    """
    tree = list_test_folders(expanded(root, owner).resolve(), class_names, owner=owner)
    sets, notes = _from_cache(cache_dir, "test_images", *_decoding(tree, size, None))
    return sets["test"], [*tree.notes, *notes]


def load_cifar(dataset: Dataset) -> Loaded:
    """CIFAR-10 or -100 from class folders if dataset.root has train and test, else torchvision's, downloaded if absent.

    Without dataset.root torchvision's files are stored in a folder `torchvision` under dataset.cache_dir.
    """
    root = _absolute(dataset.root if dataset.root is not None else f"{dataset.cache_dir}/torchvision")
    if (root / "train").is_dir() or (root / "test").is_dir():
        tree = list_split_folders(root)
        found, expected = len(tree.class_names), CIFAR_CLASSES[dataset.name]
        if found != expected:
            raise UsageError(f"dataset.root={root}: {found} class folders in train, {dataset.name} has {expected}")
        return _load_folders(dataset, tree, None if dataset.image_size else square(CIFAR_SIDE))
    if not (files := torchvision_cifar.files_present(dataset.name, root)):
        torchvision_cifar.download(dataset.name, root)
        files = torchvision_cifar.files_present(dataset.name, root)

    def build(folder: Path) -> dict[str, Any]:
        names = torchvision_cifar.write_cifar(folder, dataset.name, root, square(dataset.image_size))
        source = f"torchvision's {dataset.name} in {root}"
        return {"class_names": names, "notes": [], "source": source, "image_files": None}

    fingerprint = torchvision_cifar.fingerprint(dataset.name, root, files)
    sets, notes = _from_cache(dataset.cache_dir, dataset.name, repr((fingerprint, dataset.image_size)), build)
    return sets["train"], sets["test"], notes


def load_digits(dataset: Dataset) -> Loaded:
    """scikit-learn's 1,797 handwritten digits of 8 x 8, grey levels 0..16 scaled to 0..255, in three equal channels.

    Test images are the last int(0.3 n_k) of the n_k images of each class in scikit-learn's order.
    """
    return *_digits(dataset.image_size), []


@cache
def _digits(size: int | None) -> tuple[ImageSet, ImageSet]:
    """Training and test images of `size` pixels; read-only, since the runs of a process share them."""
    from sklearn.datasets import load_digits as digits

    grey, labels = digits(return_X_y=True)
    grey = np.rint(grey.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    images, labels = np.repeat(grey, 3, axis=3), labels.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        test[of_class[len(of_class) - int(DIGITS_TEST_SHARE * len(of_class)) :]] = True
    names = tuple(str(label) for label in range(10))

    def part(chosen: NDArray[np.bool_]) -> ImageSet:
        some = np.stack([resized_array(image, square(size)) for image in images[chosen]])
        some.flags.writeable = False
        indices = np.arange(len(some), dtype=np.int64)
        return ImageSet(some, labels[chosen], image_hashes(some), indices, names, "scikit-learn's load_digits")

    return part(~test), part(test)


IMAGE_SETS: dict[str, Callable[[Dataset], Loaded]] = {
    "cifar10": load_cifar,
    "cifar100": load_cifar,
    "image_folder": load_image_folder,
    "digits": load_digits,
}


def _absolute(root: str) -> Path:
    return expanded(root, "dataset.root").resolve()


def _load_folders(dataset: Dataset, tree: ClassFolders, native_size: Size | None) -> Loaded:
    decoding = _decoding(tree, square(dataset.image_size), native_size)
    sets, notes = _from_cache(dataset.cache_dir, dataset.name, *decoding)
    return sets["train"], sets["test"], [*tree.notes, *notes]


Build = Callable[[Path], dict[str, Any]]  # fills a folder of the cache


def _decoding(tree: ClassFolders, size: Size | None, native_size: Size | None) -> tuple[str, Build]:
    """The identity of the decoded images of `tree`, and what decodes them."""

    def build(folder: Path) -> dict[str, Any]:
        notes = write_class_folders(folder, tree, size=size, native_size=native_size)
        files = {split: tree.names(split) for split in tree.splits}
        source = f"class folders in {tree.root}"
        return {"class_names": tree.class_names, "notes": notes, "source": source, "image_files": files}

    return repr((tree.fingerprint(), size, native_size)), build


def _from_cache(cache_dir: str, name: str, identity: str, build: Build) -> tuple[dict[str, ImageSet], list[str]]:
    """The image sets of a cache entry by split, and its notes."""
    key = hashlib.sha256(identity.encode()).hexdigest()
    arrays, content = load_or_build(cache_dir, name, key, build)

    def part(split: str) -> ImageSet:
        images, labels, hashes = (arrays[f"{split}_{kind}"] for kind in ("images", "labels", "hashes"))
        indices = np.arange(len(labels), dtype=np.int64)
        names = tuple(one_line(name) for name in content["class_names"])
        files = content["image_files"] and tuple(content["image_files"][split])
        return ImageSet(images, labels, hashes, indices, names, content["source"], files)

    splits = [split for split in SPLITS if f"{split}_labels" in arrays]
    return {split: part(split) for split in splits}, content["notes"]
