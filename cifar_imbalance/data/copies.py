"""Images that appear twice: validation or test images that are training images too, and one image in two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.terminal import one_line


def notes_on_copies(train: ImageSet, test: ImageSet, validation: ImageSet | None = None) -> list[str]:
    """Notes for the log and data.json, by the hashes of the images' pixels; none if there are no copies.

    `validation` are images apart from both, if there are any.
    """
    held_out = [] if validation is None else [(validation, "validation")]
    notes = []
    for images, which in (*held_out, (test, "test")):
        copied = np.flatnonzero(np.isin(images.hashes, train.hashes))
        if len(copied):
            first = _named(images, int(copied[0]))
            notes.append(f"{_count(len(copied), which)} also training images, the first is {first}")
    for images, which in ((train, "training"), *held_out, (test, "test")):
        others = [other for other, _ in held_out] if images is train else []
        twice = _in_two_classes(images, *others)
        if len(twice):
            first = _named(images, int(twice[0]))
            notes.append(f"{_count(len(twice), which)} in more than one class, the first is {first}")
    return notes


def _count(images: int, which: str) -> str:
    return f"1 {which} image is" if images == 1 else f"{images} {which} images are"


def _in_two_classes(images: ImageSet, *others: ImageSet) -> NDArray[np.int64]:
    """Positions of `images` of which another class has a copy, there or in the `others`."""
    sets = (images, *others)
    labels = np.concatenate([each.labels for each in sets])
    _, same = np.unique(np.concatenate([each.hashes for each in sets]), return_inverse=True)
    lowest, highest = np.full(same.max() + 1, np.iinfo(np.int64).max), np.full(same.max() + 1, -1)
    np.minimum.at(lowest, same, labels)
    np.maximum.at(highest, same, labels)
    return np.flatnonzero((lowest < highest)[same[: len(images.labels)]])


def _named(images: ImageSet, position: int) -> str:
    """The file of an image, or its number in the data set and its class."""
    if images.files is not None:
        return one_line(images.files[position])
    return f"image {images.indices[position]}, a {images.class_names[images.labels[position]]}"
