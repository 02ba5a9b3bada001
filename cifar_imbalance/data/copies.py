"""Images that appear twice: test images that are training images too, and one image in two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.data.image_sets import ImageSet


def notes_on_copies(train: ImageSet, test: ImageSet) -> list[str]:
    """Notes for the log and data.json, by the hashes of the images' pixels; none if there are no copies."""
    notes = []
    copied = np.flatnonzero(np.isin(test.hashes, train.hashes))
    if len(copied):
        notes.append(f"{len(copied)} test images are also training images, the first is {_named(test, int(copied[0]))}")
    for images, which in ((train, "training"), (test, "test")):
        twice = _in_two_classes(images)
        if len(twice):
            named = _named(images, int(twice[0]))
            notes.append(f"{len(twice)} {which} images are in more than one class, the first is {named}")
    return notes


def _in_two_classes(images: ImageSet) -> NDArray[np.int64]:
    """Positions of images of which another class has a copy."""
    _, same = np.unique(images.hashes, return_inverse=True)
    lowest, highest = np.full(same.max() + 1, np.iinfo(np.int64).max), np.full(same.max() + 1, -1)
    np.minimum.at(lowest, same, images.labels)
    np.maximum.at(highest, same, images.labels)
    return np.flatnonzero((lowest < highest)[same])


def _named(images: ImageSet, position: int) -> str:
    return f"number {images.indices[position]} of {images.class_names[images.labels[position]]}"
