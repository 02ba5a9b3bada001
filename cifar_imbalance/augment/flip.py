"""Flip images horizontally or vertically."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors, happens
from cifar_imbalance.configuration.fields import Flip


def flip(
    images: Float[Tensor, "batch 3 height width"], flipped: Bool[Tensor, " batch"], *, vertically: bool = False
) -> Float[Tensor, "batch 3 height width"]:
    """Flip the images that are `flipped`, horizontally or vertically."""
    return torch.where(flipped[:, None, None, None], images.flip(2 if vertically else 3), images)


def draw(generator: np.random.Generator, settings: Flip, images: Drawn) -> Draws:
    draws = {"flip.flipped": happens(generator, settings.probability, images)}
    if settings.vertical_probability > 0:
        draws["flip.flipped_vertically"] = happens(generator, settings.vertical_probability, images)
    return draws


def apply(images: Images, draws: Tensors, settings: Flip) -> Images:
    images = flip(images, draws["flip.flipped"])
    if settings.vertical_probability > 0:
        images = flip(images, draws["flip.flipped_vertically"], vertically=True)
    return images


OPERATOR = Operator(draw, apply)
