"""Pad images, then crop them back to their own size."""

from __future__ import annotations

import numpy as np

from cifar_imbalance.augment.borders import translate
from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors
from cifar_imbalance.configuration.fields import PadCrop
from cifar_imbalance.errors import UsageError


def draw(generator: np.random.Generator, settings: PadCrop, images: Drawn) -> Draws:
    """Padding and cropping back to the image's own size is a shift by -padding..padding whole pixels."""

    def offsets() -> np.ndarray:
        span = (-settings.padding, settings.padding)
        return generator.integers(*span, images.shape, endpoint=True).astype(np.int32)

    return {"pad_crop.rows": offsets(), "pad_crop.columns": offsets()}


def apply(images: Images, draws: Tensors, settings: PadCrop) -> Images:
    return translate(images, draws["pad_crop.rows"], draws["pad_crop.columns"], "constant", settings.fill)


def check(settings: PadCrop, height: int, width: int) -> None:
    if settings.padding >= min(height, width):
        raise UsageError(
            f"augmentation.pad_crop.padding={settings.padding}: must be smaller than the side of the images, "
            f"which are {height} x {width} pixels"
        )


OPERATOR = Operator(draw, apply, check)
