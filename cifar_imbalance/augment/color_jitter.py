"""Scale contrast, saturation and brightness of images."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cifar_imbalance.augment.operator import Drawn, Draws, Images, Operator, Tensors, happens
from cifar_imbalance.configuration.fields import ColorJitter


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


def draw(generator: np.random.Generator, settings: ColorJitter, images: Drawn) -> Draws:
    draws = {"color_jitter.applied": happens(generator, settings.probability, images)}
    for factor in ("contrast", "saturation", "brightness"):
        low, high = getattr(settings, factor)
        draws[f"color_jitter.{factor}"] = generator.uniform(low, high, images.shape).astype(np.float32)
    return draws


def apply(images: Images, draws: Tensors, settings: ColorJitter) -> Images:
    names = ("applied", "contrast", "saturation", "brightness")
    return color_jitter(images, *(draws[f"color_jitter.{name}"] for name in names))


OPERATOR = Operator(draw, apply)
