"""Views of the images at test time, looked up by `views`; the logits of an image are the mean over its views."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

Images = UInt8[np.ndarray, "images height width 3"]

SHIFT = 1 / 16  # of the side: 2 of 32 pixels


def mirrored(images: Images) -> Images:
    return np.ascontiguousarray(images[:, :, ::-1])


def shifted_each_way(images: Images) -> Iterator[Images]:
    """The images shifted up, down, left and right by `SHIFT` of the side; what is missing is the mirrored border."""
    height, width = images.shape[1:3]
    down, right = max(1, round(height * SHIFT)), max(1, round(width * SHIFT))
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)), mode="reflect")
    for top, left in ((2 * down, right), (0, right), (down, 2 * right), (down, 0)):
        yield np.ascontiguousarray(padded[:, top : top + height, left : left + width])


def views_of(images: Images, name: str) -> Iterator[Images]:
    """The images themselves first, then their other views."""
    yield images
    if name in ("flip", "flip_shift"):
        yield mirrored(images)
    if name in ("shift", "flip_shift"):
        for view in shifted_each_way(images):
            yield view
            if name == "flip_shift":
                yield mirrored(view)
