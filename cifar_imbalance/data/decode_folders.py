"""Decode every image of a tree of class folders into a cache entry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.data.cache import write_split
from cifar_imbalance.data.class_folders import ClassFolders
from cifar_imbalance.data.decode import Size, read_image
from cifar_imbalance.errors import UsageError

IMAGES_AT_ONCE = 1024  # decoded but not yet written: a large set need not fit into memory
IMAGES_IN_A_TASK = 32  # with one small image per task, the overhead of the tasks dominates


def write_class_folders(folder: Path, tree: ClassFolders, *, size: Size | None, native_size: Size | None) -> list[str]:
    """Write the images of `tree`, resized to `size`, into the cache's `folder`; returns notes.

    Raises UsageError unless all images have the size of the first one, or `native_size` (of a known data set) if given.
    """
    first = tree.paths(next(iter(tree.splits)))[0]
    known = native_size or size
    shape = (*known, 3) if known else read_image(first, field=tree.owner)[0].shape
    several_frames: list[Path] = []

    def images(paths: list[Path]) -> Iterator[NDArray[np.uint8]]:
        for path, (image, several) in zip(paths, _read_all(paths, size, tree.owner), strict=True):
            if image.shape != shape:
                other = "images of this data set are" if known else f"{first} is"
                raise UsageError(
                    f"{tree.owner}={tree.root}: {path} is {_pixels(image.shape)}, {other} {_pixels(shape)}; "
                    f"use images of one size, or set dataset.image_size to resize them"
                )
            if several:
                several_frames.append(path)
            yield image

    for split in tree.splits:
        write_split(folder, split, images(tree.paths(split)), tree.labels(split))
    if not several_frames:
        return []
    return [f"{len(several_frames)} files have several frames, of which the first is used, such as {several_frames[0]}"]


def _read_all(paths: Sequence[Path], size: Size | None, owner: str) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    def read(some: Sequence[Path]) -> list[tuple[NDArray[np.uint8], bool]]:
        return [read_image(path, size, field=owner) for path in some]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            batch = paths[start : start + IMAGES_AT_ONCE]
            tasks = [batch[i : i + IMAGES_IN_A_TASK] for i in range(0, len(batch), IMAGES_IN_A_TASK)]
            for images in pool.map(read, tasks):
                yield from images


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
