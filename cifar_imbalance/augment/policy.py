"""An augmentation policy: which operators, in which order, and the draws of an epoch.

The draws are made on the host by key and reach the step as data; each operator has a key of its own, so adding one
changes nothing about what the others draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from cifar_imbalance import keys
from cifar_imbalance.augment import ops
from cifar_imbalance.configuration import fields
from cifar_imbalance.errors import UsageError

Images = Float[Tensor, "batch 3 height width"]
Draws = dict[str, np.ndarray]
Tensors = Mapping[str, Tensor]


class Size(NamedTuple):
    """How many images are drawn for, [steps, batch], and their height and width in pixels."""

    steps: int
    batch: int
    height: int
    width: int


def draw_flip(generator: np.random.Generator, settings: fields.Flip, size: Size) -> Draws:
    draws = {"flip.flipped": _happens(generator, settings.probability, size)}
    if settings.vertical_probability > 0:
        draws["flip.flipped_vertically"] = _happens(generator, settings.vertical_probability, size)
    return draws


def apply_flip(images: Images, draws: Tensors, settings: fields.Flip) -> Images:
    images = ops.flip(images, draws["flip.flipped"])
    if settings.vertical_probability > 0:
        images = ops.flip(images, draws["flip.flipped_vertically"], vertically=True)
    return images


def draw_rotation(generator: np.random.Generator, settings: fields.Rotation, size: Size) -> Draws:
    """Angles are uniform; their sines and cosines are taken here, so that every device has the same."""
    degrees = generator.uniform(-settings.max_degrees, settings.max_degrees, (size.steps, size.batch))
    angle = np.deg2rad(degrees)
    return {
        "rotation.sine": np.sin(angle).astype(np.float32),
        "rotation.cosine": np.cos(angle).astype(np.float32),
    }


def apply_rotation(images: Images, draws: Tensors, settings: fields.Rotation) -> Images:
    return ops.rotate(images, draws["rotation.sine"], draws["rotation.cosine"], settings.border, settings.fill)


def draw_shift(generator: np.random.Generator, settings: fields.Shift, size: Size) -> Draws:
    """Each way the nearest whole number of pixels to U(-fraction, fraction) of the side."""

    def offsets(fraction: float, side: int) -> np.ndarray:
        fractions = generator.uniform(-fraction, fraction, (size.steps, size.batch))
        return np.rint(fractions * side).astype(np.int32)

    return {
        "shift.rows": offsets(settings.height_fraction, size.height),
        "shift.columns": offsets(settings.width_fraction, size.width),
    }


def apply_shift(images: Images, draws: Tensors, settings: fields.Shift) -> Images:
    return ops.translate(images, draws["shift.rows"], draws["shift.columns"], settings.border, settings.fill)


def check_shift(settings: fields.Shift, height: int, width: int) -> None:
    for name, side in (("height_fraction", height), ("width_fraction", width)):
        fraction = getattr(settings, name)
        if settings.border == "reflect" and round(fraction * side) > side - 1:
            raise UsageError(
                f"augmentation.shift.{name}={fraction}: with border=reflect an image of "
                f"{height} x {width} can be shifted by at most {side - 1} of {side} pixels"
            )


def draw_pad_crop(generator: np.random.Generator, settings: fields.PadCrop, size: Size) -> Draws:
    """A crop of the image's own size out of the padded image is a shift by -padding..padding whole pixels."""

    def offsets() -> np.ndarray:
        span = (-settings.padding, settings.padding)
        return generator.integers(*span, (size.steps, size.batch), endpoint=True).astype(np.int32)

    return {"pad_crop.rows": offsets(), "pad_crop.columns": offsets()}


def apply_pad_crop(images: Images, draws: Tensors, settings: fields.PadCrop) -> Images:
    return ops.translate(images, draws["pad_crop.rows"], draws["pad_crop.columns"], "constant", settings.fill)


def check_pad_crop(settings: fields.PadCrop, height: int, width: int) -> None:
    if settings.padding >= min(height, width):
        raise UsageError(
            f"augmentation.pad_crop.padding={settings.padding}: must be smaller than the side of the images, "
            f"which are {height} x {width} pixels"
        )


def draw_cutout(generator: np.random.Generator, settings: fields.Cutout, size: Size) -> Draws:
    """Centers are uniform over the pixels, so a square near the border is cut smaller."""
    shape = (size.steps, size.batch, settings.count)
    rows, columns = (generator.integers(side, size=shape) for side in (size.height, size.width))
    return {"cutout.centers": np.stack([rows, columns], axis=-1).astype(np.int32)}


def apply_cutout(images: Images, draws: Tensors, settings: fields.Cutout) -> Images:
    return ops.cutout(images, draws["cutout.centers"], settings.size_fraction, settings.fill)


def check_cutout(settings: fields.Cutout, height: int, width: int) -> None:
    if ops.half_square(settings.size_fraction, height, width) == 0:
        raise UsageError(
            f"augmentation.cutout.size_fraction={settings.size_fraction}: the square must be at least 2 pixels wide, "
            f"a fraction of {2 / min(height, width):.4g} or more of images of {height} x {width}"
        )


def draw_color_jitter(generator: np.random.Generator, settings: fields.ColorJitter, size: Size) -> Draws:
    draws = {"color_jitter.applied": _happens(generator, settings.probability, size)}
    for factor in ("contrast", "saturation", "brightness"):
        low, high = getattr(settings, factor)
        draws[f"color_jitter.{factor}"] = generator.uniform(low, high, (size.steps, size.batch)).astype(np.float32)
    return draws


def apply_color_jitter(images: Images, draws: Tensors, settings: fields.ColorJitter) -> Images:
    names = ("applied", "contrast", "saturation", "brightness")
    return ops.color_jitter(images, *(draws[f"color_jitter.{name}"] for name in names))


def _happens(generator: np.random.Generator, probability: float, size: Size) -> np.ndarray:
    return generator.random((size.steps, size.batch)) < probability


class Operator(NamedTuple):
    """`draw` fills an epoch, `apply` changes a batch, `check` refuses settings that images of this size cannot take."""

    draw: Callable[[np.random.Generator, Any, Size], Draws]
    apply: Callable[[Images, Tensors, Any], Images]
    check: Callable[[Any, int, int], None] | None = None


OPERATORS = {
    "flip": Operator(draw_flip, apply_flip),
    "rotation": Operator(draw_rotation, apply_rotation),
    "shift": Operator(draw_shift, apply_shift, check_shift),
    "pad_crop": Operator(draw_pad_crop, apply_pad_crop, check_pad_crop),
    "cutout": Operator(draw_cutout, apply_cutout, check_cutout),
    "color_jitter": Operator(draw_color_jitter, apply_color_jitter),
}


class Policy:
    """The operators that `augmentation` switches on, for images of `height` x `width` pixels.

    Raises UsageError where an operator's settings do not suit images of this size.
    """

    def __init__(self, augmentation: fields.Augmentation, *, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.names = [name for name in augmentation.order if getattr(augmentation, name) is not None]
        self.settings = {name: getattr(augmentation, name) for name in self.names}
        for name in self.names:
            check = OPERATORS[name].check
            if check is not None:
                check(self.settings[name], height, width)

    def draw(self, seed: int, epoch: int, *, steps: int, batch: int) -> Draws:
        """An epoch's draws on the host, each [steps, batch, ...], under keys such as "flip.flipped"."""
        size = Size(steps, batch, self.height, self.width)
        draws: Draws = {}
        for name in self.names:
            generator = keys.generator(seed, f"augmentation.{name}", epoch)
            draws |= OPERATORS[name].draw(generator, self.settings[name], size)
        return draws

    def apply(self, images: Images, draws: Tensors) -> Images:
        """The images after every operator in turn, by the draws of one step, each [batch, ...]. Pure."""
        for name in self.names:
            images = OPERATORS[name].apply(images, draws, self.settings[name])
        return images
