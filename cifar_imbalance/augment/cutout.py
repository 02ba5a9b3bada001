"""Fill squares of images (DeVries 2017)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors
from cifar_imbalance.configuration.fields import Cutout
from cifar_imbalance.errors import UsageError


def half_square(size_fraction: float, height: int, width: int) -> int:
    """Half the side of a cutout square in pixels, relative to the shorter side of the image."""
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


def draw(generator: np.random.Generator, settings: Cutout, images: Drawn) -> Draws:
    """Centers are uniform over the pixels, so a square near the border is clipped."""
    shape = (*images.shape, settings.count)
    rows, columns = (generator.integers(side, size=shape) for side in (images.height, images.width))
    return {"cutout.centers": np.stack([rows, columns], axis=-1).astype(np.int32)}


def apply(images: Images, draws: Tensors, settings: Cutout) -> Images:
    return cutout(images, draws["cutout.centers"], settings.size_fraction, settings.fill)


def check(settings: Cutout, height: int, width: int) -> None:
    if half_square(settings.size_fraction, height, width) == 0:
        raise UsageError(
            f"augmentation.cutout.size_fraction={settings.size_fraction}: the square must be at least 2 pixels wide, "
            f"a fraction of {2 / min(height, width):.4g} or more of images of {height} x {width}"
        )


OPERATOR = Operator(draw, apply, check)
