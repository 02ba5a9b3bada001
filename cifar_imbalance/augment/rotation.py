"""Rotate images about their centres."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cifar_imbalance.augment.borders import pixels_at, within
from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors
from cifar_imbalance.configuration.fields import Rotation


def rotate(
    images: Float[Tensor, "batch 3 height width"],
    sine: Float[Tensor, " batch"],
    cosine: Float[Tensor, " batch"],
    border: str,
    fill: float,
) -> Float[Tensor, "batch 3 height width"]:
    """Rotate each image about its centre, counter-clockwise by the angle of this `sine` and `cosine`, bilinearly.

    Beyond the border the image is `fill` or mirrored, as in `translate`.
    """
    height, width = images.shape[2:]
    sine, cosine = sine[:, None, None], cosine[:, None, None]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    down = torch.arange(height, device=images.device)[:, None] - middle_row
    right = torch.arange(width, device=images.device) - middle_column
    row = cosine * down + sine * right + middle_row  # [batch, height, width], where each pixel is read from
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
    """The pixels at any positions, including those beyond the border."""
    height, width = images.shape[2:]
    rows, row_inside = within(rows, height, border)
    columns, column_inside = within(columns, width, border)
    read = pixels_at(images, rows, columns)
    return read if border == "reflect" else torch.where((row_inside & column_inside)[:, None], read, fill)


def draw(generator: np.random.Generator, settings: Rotation, images: Drawn) -> Draws:
    """Angles are uniform; sines and cosines are computed here, so that they are the same on every device."""
    degrees = generator.uniform(-settings.max_degrees, settings.max_degrees, images.shape)
    angle = np.deg2rad(degrees)
    return {
        "rotation.sine": np.sin(angle).astype(np.float32),
        "rotation.cosine": np.cos(angle).astype(np.float32),
    }


def apply(images: Images, draws: Tensors, settings: Rotation) -> Images:
    return rotate(images, draws["rotation.sine"], draws["rotation.cosine"], settings.border, settings.fill)


OPERATOR = Operator(draw, apply)
