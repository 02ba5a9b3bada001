"""Decoding of an image file of any mode to 8-bit RGB.

- Grey, 1-bit, palette, CMYK and YCbCr images are converted to RGB.
- 16-bit grey is divided by 257 and rounded (Pillow's own conversion would clip it at 255); 12-bit grey of a TIFF is
  scaled likewise, and inverted where 0 is white. Of 16-bit colour, Pillow
  itself reads the upper 8 bits.
- Transparency (RGBA, LA, or a transparent colour) is composited over white, the usual background of icons and drawings.
- The EXIF orientation is applied.
- Of an animation or a multi-page file only the first frame is read.
- 32-bit float pixels have no agreed range and are rejected.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cifar_imbalance.errors import UsageError

# compared in lower case
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".gif", ".tif", ".tiff"} | (
    {".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
# TIFF's names and numbers
BITS_PER_SAMPLE, PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO = 258, 262, 0


Size = tuple[int, int]  # height, width


def square(image_size: int | None) -> Size | None:
    """The size of a square of side `image_size`; None for None, an image's own size."""
    return None if image_size is None else (image_size, image_size)


def read_image(path: Path, size: Size | None = None, *, field: str = "dataset.root") -> tuple[NDArray[np.uint8], bool]:
    """The image as uint8 [height, width, 3], and whether the file contains further frames.

    With `size` it is resized, ignoring its aspect ratio (see `resized`).
    A file that cannot be read completely raises UsageError with its name and that of the configuration's `field`.
    """
    try:
        with Image.open(path) as image:
            several_frames = getattr(image, "n_frames", 1) > 1
            image.load()
            with suppress(Exception):  # unreadable EXIF does not matter if the pixels are intact
                ImageOps.exif_transpose(image, in_place=True)
            return np.array(resized(to_rgb(image), size)), several_frames
    except Exception as error:  # Pillow raises many exceptions for damaged files, even SyntaxError
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):  # whose text has the path, which is named already
            reason = "its content is no image, or one that Pillow does not know"
        raise UsageError(f"{field}: cannot read {path}: {reason}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, by the rules at the head of this file. Raises ValueError if there is no rule."""
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit floats; images must have 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def resized(image: Image.Image, size: Size | None) -> Image.Image:
    """`image` at `size`: bilinear, antialiased when downscaling. None leaves it unchanged."""
    if size is None or (image.height, image.width) == size:
        return image
    # Pillow's filter widens with the reduction factor, which antialiases
    return image.resize(size[::-1], Image.Resampling.BILINEAR)


def resized_array(image: NDArray[np.uint8], size: Size | None) -> NDArray[np.uint8]:
    """`resized` for an already decoded image, uint8 [height, width, 3]."""
    return np.array(resized(Image.fromarray(image), size))


def _from_16_bit(image: Image.Image) -> Image.Image:
    # mode I has 32 bits, but Pillow uses it for some 16-bit files
    values = np.array(image).astype(np.int64)
    tags = getattr(image, "tag_v2", {})  # a TIFF may have fewer bits than its mode, and 0 as white
    largest = 2 ** min(16, *tags.get(BITS_PER_SAMPLE, (16,))) - 1
    if values.min() < 0 or values.max() > largest:
        raise ValueError(f"its pixels are integers beyond 0..{largest}; images must have at most 16 bits")
    if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        values = largest - values
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = largest
    return Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8)).convert("RGB")
