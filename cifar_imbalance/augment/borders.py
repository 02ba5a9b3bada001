"""Translation of images, and the pixels that are read beyond their border."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def translate(
    images: Float[Tensor, "batch 3 height width"],
    rows: Int[Tensor, " batch"],
    columns: Int[Tensor, " batch"],
    border: str,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """Move each image down by `rows` and right by `columns` pixels (up and left where negative).

    Beyond the border the image is `fill` (border="constant") or mirrored (border="reflect", as numpy's 'reflect': the
    edge pixel itself is not repeated). Reflection reaches at most side - 1 pixels.
    """
    height, width = images.shape[2:]
    from_row, row_inside = _sources(rows, height, border)
    from_column, column_inside = _sources(columns, width, border)
    moved = pixels_at(images, from_row[:, :, None], from_column[:, None, :])
    if border == "reflect":
        return moved
    return torch.where(row_inside[:, None, :, None] & column_inside[:, None, None, :], moved, fill)


def pixels_at(
    images: Float[Tensor, "batch 3 height width"],
    rows: Int[Tensor, "batch _ _"],
    columns: Int[Tensor, "batch _ _"],
) -> Float[Tensor, "batch 3 height width"]:
    """Each image's pixels at places within it, in the images' memory format; rows and columns are broadcast.

    Not by torch.gather, of which torch_xla makes for a TPU a comparison of each place with every pixel.
    """
    number = torch.arange(len(images), device=images.device)[:, None, None]
    read = images.permute(0, 2, 3, 1)[number, rows, columns].permute(0, 3, 1, 2)
    # torch.func.vmap does not know `is_contiguous` of a memory format.
    return read if images.stride(1) == 1 else read.contiguous()


def _sources(
    offsets: Int[Tensor, " batch"], side: int, border: str
) -> tuple[Int[Tensor, "batch side"], Bool[Tensor, "batch side"]]:
    """For each position along a side: the position it is read from, and whether that is inside the image."""
    return within(torch.arange(side, device=offsets.device) - offsets.long()[:, None], side, border)


def within(places: Int[Tensor, ...], side: int, border: str) -> tuple[Int[Tensor, ...], Bool[Tensor, ...]]:
    """Positions along a side, those outside it mirrored or clamped to its end; and which were inside."""
    inside = (places >= 0) & (places < side)
    if border == "reflect":
        places = (side - 1) - (places.abs() - (side - 1)).abs()
    return places.clamp(0, side - 1), inside
