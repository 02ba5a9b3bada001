"""Views of the images at test time, looked up by `views`; an image's logits are an average over its views."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

Images = UInt8[np.ndarray, "images height width 3"]

SHIFT = 1 / 16  # of the side: 2 of 32 pixels


def mirrored(images: Images) -> Images:
    return np.ascontiguousarray(images[:, :, ::-1])


def shifted_each_way(images: Images) -> Iterator[tuple[str, Images]]:
    """The images shifted by `SHIFT` of the side each way, with its name; what is missing is the mirrored border."""
    height, width = images.shape[1:3]
    down, right = max(1, round(height * SHIFT)), max(1, round(width * SHIFT))
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)), mode="reflect")
    corners = {"up": (2 * down, right), "down": (0, right), "left": (down, 2 * right), "right": (down, 0)}
    for way, (top, left) in corners.items():
        yield way, np.ascontiguousarray(padded[:, top : top + height, left : left + width])


def views_of(images: Images, name: str) -> Iterator[tuple[str, Images]]:
    """The names of the views and the images so seen, as they are first."""
    yield "image", images
    if name in ("flip", "flip_shift"):
        yield "mirrored", mirrored(images)
    if name in ("shift", "flip_shift"):
        for way, view in shifted_each_way(images):
            yield way, view
            if name == "flip_shift":
                yield f"{way}, mirrored", mirrored(view)
