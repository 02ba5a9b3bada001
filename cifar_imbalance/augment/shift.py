"""Shift images by whole pixels, up to a fraction of their sides."""

from __future__ import annotations

import numpy as np

from cifar_imbalance.augment.borders import translate
from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors
from cifar_imbalance.configuration.fields import Shift
from cifar_imbalance.errors import UsageError


def draw(generator: np.random.Generator, settings: Shift, images: Drawn) -> Draws:
    """Along each axis, U(-fraction, fraction) of the side, rounded to whole pixels."""

    def offsets(fraction: float, side: int) -> np.ndarray:
        fractions = generator.uniform(-fraction, fraction, images.shape)
        return np.rint(fractions * side).astype(np.int32)

    return {
        "shift.rows": offsets(settings.height_fraction, images.height),
        "shift.columns": offsets(settings.width_fraction, images.width),
    }


def apply(images: Images, draws: Tensors, settings: Shift) -> Images:
    return translate(images, draws["shift.rows"], draws["shift.columns"], settings.border, settings.fill)


def check(settings: Shift, height: int, width: int) -> None:
    for name, side in (("height_fraction", height), ("width_fraction", width)):
        fraction = getattr(settings, name)
        if settings.border == "reflect" and round(fraction * side) > side - 1:
            raise UsageError(
                f"augmentation.shift.{name}={fraction}: with border=reflect an image of "
                f"{height} x {width} can be shifted by at most {side - 1} of {side} pixels"
            )


OPERATOR = Operator(draw, apply, check)
