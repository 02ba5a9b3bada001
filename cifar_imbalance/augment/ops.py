"""Augmentation operators: pure functions of a batch of images and of the parameters that were drawn for each image.

Images are [batch, 3, height, width] with values 0..255, of any height and width. Parameters are tensors on the same
device. Nothing branches on data, reads the device or changes shape, so the operators are part of a compiled step on
every runtime; images that are channels_last in memory stay so (which `masked_fill` would not keep, hence `where`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def flip(
    images: Float[Tensor, "batch 3 height width"], flipped: Bool[Tensor, " batch"], *, vertically: bool = False
) -> Float[Tensor, "batch 3 height width"]:
    """Mirror left and right, or top and bottom, the images that are `flipped`."""
    return torch.where(flipped[:, None, None, None], images.flip(2 if vertically else 3), images)


def rotate(
    images: Float[Tensor, "batch 3 height width"],
    sine: Float[Tensor, " batch"],
    cosine: Float[Tensor, " batch"],
    border: str,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """Turn each image about its centre, counter-clockwise by the angle of this `sine` and `cosine`, bilinearly.

    What comes in over the border is `fill` or the mirrored image, as in `translate`.
    """
    height, width = images.shape[2:]
    sine, cosine = sine[:, None, None], cosine[:, None, None]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    down = torch.arange(height, device=images.device)[:, None] - middle_row
    right = torch.arange(width, device=images.device) - middle_column
    row = cosine * down + sine * right + middle_row  # [batch, height, width], where each place is read from
    column = cosine * right - sine * down + middle_column
    top, left = row.floor(), column.floor()
    turned = torch.zeros_like(images)
    for from_row, row_share in ((top, 1 - (row - top)), (top + 1, row - top)):
        for from_column, column_share in ((left, 1 - (column - left)), (left + 1, column - left)):
            value = _read(images, from_row.long(), from_column.long(), border, fill)
            turned = turned + value * (row_share * column_share)[:, None]
    return turned


def _read(
    images: Float[Tensor, "batch 3 height width"],
    rows: Int[Tensor, "batch height width"],
    columns: Int[Tensor, "batch height width"],
    border: str,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """The pixels at any places, also beyond the border."""
    height, width = images.shape[2:]
    rows, row_inside = _within(rows, height, border)
    columns, column_inside = _within(columns, width, border)
    places = (rows * width + columns).flatten(1)
    if images.is_contiguous(memory_format=torch.channels_last):
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
        read = pixels.gather(1, places[:, :, None].expand(pixels.shape)).permute(0, 2, 1).unflatten(2, (height, width))
    else:
        pixels = images.flatten(2)
        read = pixels.gather(2, places[:, None].expand(pixels.shape)).unflatten(2, (height, width))
    return read if border == "reflect" else torch.where((row_inside & column_inside)[:, None], read, fill)


def translate(
    images: Float[Tensor, "batch 3 height width"],
    rows: Int[Tensor, " batch"],
    columns: Int[Tensor, " batch"],
    border: str,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """Move each image down by `rows` and right by `columns` pixels (up and left where negative).

    What comes in over the border is `fill` (border="constant") or the mirrored image (border="reflect"), as numpy's
    'reflect': the edge pixel itself is not repeated. Reflection reaches as far as side - 1 pixels, no further.
    """
    height, width = images.shape[2:]
    from_row, row_inside = _sources(rows, height, border)
    from_column, column_inside = _sources(columns, width, border)
    # A gather writes its result in the index's own order, so channels_last images are gathered as rows of pixels.
    if images.is_contiguous(memory_format=torch.channels_last):
        pixels = images.permute(0, 2, 3, 1)
        pixels = pixels.gather(1, from_row[:, :, None, None].expand(pixels.shape))
        pixels = pixels.gather(2, from_column[:, None, :, None].expand(pixels.shape))
        moved = pixels.permute(0, 3, 1, 2)
    else:
        moved = images.gather(2, from_row[:, None, :, None].expand(images.shape))
        moved = moved.gather(3, from_column[:, None, None, :].expand(images.shape))
    if border == "reflect":
        return moved
    return torch.where(row_inside[:, None, :, None] & column_inside[:, None, None, :], moved, fill)


def _sources(
    offsets: Int[Tensor, " batch"], side: int, border: str
) -> tuple[Int[Tensor, "batch side"], Bool[Tensor, "batch side"]]:
    """For each place along a side: the place it is read from, and whether that was inside the image."""
    return _within(torch.arange(side, device=offsets.device) - offsets.long()[:, None], side, border)


def _within(places: Int[Tensor, ...], side: int, border: str) -> tuple[Int[Tensor, ...], Bool[Tensor, ...]]:
    """Places along a side, those outside it mirrored or moved to its end; and which were inside."""
    inside = (places >= 0) & (places < side)
    if border == "reflect":
        places = (side - 1) - (places.abs() - (side - 1)).abs()
    return places.clamp(0, side - 1), inside


def half_square(size_fraction: float, height: int, width: int) -> int:
    """Half the side of a cutout square in pixels; of images that are not square the shorter side counts."""
    return int(size_fraction * min(height, width)) // 2


def cutout(
    images: Float[Tensor, "batch 3 height width"],
    centers: Int[Tensor, "batch count 2"],
    size_fraction: float,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """Fill squares around `centers` (row, column), each [center - half, center + half), clipped at the border."""
    height, width = images.shape[2:]
    half = half_square(size_fraction, height, width)
    rows = torch.arange(height, device=images.device) - centers[..., 0, None]
    columns = torch.arange(width, device=images.device) - centers[..., 1, None]
    row_covered = (rows >= -half) & (rows < half)
    column_covered = (columns >= -half) & (columns < half)
    covered = (row_covered[..., :, None] & column_covered[..., None, :]).any(dim=1)
    return torch.where(covered[:, None], fill, images)


def color_jitter(
    images: Float[Tensor, "batch 3 height width"],
    applied: Bool[Tensor, " batch"],
    contrast: Float[Tensor, " batch"],
    saturation: Float[Tensor, " batch"],
    brightness: Float[Tensor, " batch"],
) -> Float[Tensor, "batch 3 height width"]:
    """Scale contrast, then saturation, then brightness of the images in which it is `applied`.

    Contrast is about each channel's mean in the image, saturation is HSV's (at most 1), brightness is a factor of the
    value; clipped to 0..255 once, at the end.
    """
    contrast, saturation, brightness = (factor[:, None, None, None] for factor in (contrast, saturation, brightness))
    jittered = images * contrast + images.mean(dim=(2, 3), keepdim=True) * (1 - contrast)
    # HSV keeps hue and value where each channel's distance from the largest, V, is scaled by new over old saturation:
    # min(f s, 1) / s = min(f, 1 / s) with s = (V - smallest) / V. Grey pixels have distance 0, whatever the ratio.
    value = jittered.amax(dim=1, keepdim=True)
    chroma = value - jittered.amin(dim=1, keepdim=True)
    ratio = torch.minimum(saturation, value.clamp(min=0) / chroma.clamp(min=1e-6))
    jittered = (jittered * ratio + value * (1 - ratio)) * brightness
    return torch.where(applied[:, None, None, None], jittered.clamp(0, 255), images)
