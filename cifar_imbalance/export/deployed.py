"""A model as one module from images of 0..1 to logits."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cifar_imbalance.models.build import BuiltModel


class Deployed(nn.Module):
    """All that a run does with an image: resize, normalise, model."""

    mean: Tensor
    std: Tensor

    def __init__(self, built: BuiltModel) -> None:
        super().__init__()
        self.model = built.module
        self.input_size = built.input_size
        self.register_buffer("mean", torch.tensor(built.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(built.std).view(1, 3, 1, 1))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of images of 0..1: red, green, blue."""
        if images.shape[-2:] != self.input_size:
            images = interpolate(images, self.input_size, mode="bilinear", align_corners=False)
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits
