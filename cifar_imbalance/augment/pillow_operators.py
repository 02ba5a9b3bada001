"""The operators of AutoAugment and its kin, by Pillow: functions of one image, a value and a fill."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Fill = tuple[int, int, int]
Function = Callable[[Image.Image, float, Fill], Image.Image]

HALF = 128  # above which solarize_add inverts


def _moved(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=fill)


def _enlarged(image: Image.Image, factor: float, fill: Fill) -> Image.Image:
    """The middle of the image, enlarged by `factor` >= 1, in whole pixels, to its own size."""
    width, height = image.size
    larger = image.resize((int(width * factor), int(height * factor)), Image.Resampling.LANCZOS)
    left, top = (larger.width - width) // 2, (larger.height - height) // 2
    return larger.crop((left, top, left + width, top + height))


def _solarized_after_adding(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    added = [min(255, level + int(value)) for level in range(256)]
    return image.point([level if level < HALF else 255 - level for level in added] * 3)


def _posterized(image: Image.Image, bits: int) -> Image.Image:
    return image.point([level >> 8 - bits << 8 - bits for level in range(256)] * 3)


# What the value is: a slope, pixels, degrees, a factor, bits, a level of 0..255, a radius in pixels; or nothing.
FUNCTIONS: dict[str, Function] = {
    "identity": lambda image, value, fill: image,
    "shear_x": lambda image, slope, fill: _moved(image, (1, slope, 0, 0, 1, 0), fill),
    "shear_y": lambda image, slope, fill: _moved(image, (1, 0, 0, slope, 1, 0), fill),
    "translate_x": lambda image, pixels, fill: _moved(image, (1, 0, pixels, 0, 1, 0), fill),
    "translate_y": lambda image, pixels, fill: _moved(image, (1, 0, 0, 0, 1, pixels), fill),
    "rotate": lambda image, degrees, fill: image.rotate(degrees, fillcolor=fill),
    "enlarge": _enlarged,
    "brightness": lambda image, factor, fill: ImageEnhance.Brightness(image).enhance(factor),
    "color": lambda image, factor, fill: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor, fill: ImageEnhance.Contrast(image).enhance(factor),
    "sharpness": lambda image, factor, fill: ImageEnhance.Sharpness(image).enhance(factor),
    "posterize": lambda image, bits, fill: _posterized(image, round(bits)),
    "posterize_some": lambda image, bits, fill: _posterized(image, max(1, int(bits))),  # CUDA's
    "solarize": lambda image, level, fill: ImageOps.solarize(image, math.ceil(level)),
    "solarize_add": _solarized_after_adding,
    "autocontrast": lambda image, value, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, value, fill: ImageOps.equalize(image),
    "invert": lambda image, value, fill: ImageOps.invert(image),
    "flip": lambda image, value, fill: ImageOps.flip(image),  # upside down
    "mirror": lambda image, value, fill: ImageOps.mirror(image),
    "edge_enhance": lambda image, value, fill: image.filter(ImageFilter.EDGE_ENHANCE),
    "detail": lambda image, value, fill: image.filter(ImageFilter.DETAIL),
    "smooth": lambda image, value, fill: image.filter(ImageFilter.SMOOTH),
    "gaussian_blur": lambda image, radius, fill: image.filter(ImageFilter.GaussianBlur(radius)),
}
NUMBERS = {name: number for number, name in enumerate(FUNCTIONS)}
_BY_NUMBER = tuple(FUNCTIONS.values())


def applied(image: Image.Image, numbers: list[int], values: list[float], fill: Fill) -> Image.Image:
    """The image after the operators of these NUMBERS, in order."""
    for number, value in zip(numbers, values, strict=True):
        if number:  # 0 is identity
            image = _BY_NUMBER[number](image, value, fill)
    return image
