"""Images at another size on XLA, as two matrix products.

torch_xla makes a gather of `interpolate` on its CPU client and on a TPU a call of the compiler's own resizing, which
need not be split over the cores. Products are, and are the same program on both.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def resized(
    images: Float[Tensor, "batch 3 height width"], size: tuple[int, int]
) -> Float[Tensor, "batch 3 new_height new_width"]:
    """As torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)."""
    rows, columns = (_weights(old, new, images.device) for old, new in zip(images.shape[2:], size, strict=True))
    return rows @ (images @ columns.T)


def _weights(old: int, new: int, device: torch.device) -> Float[Tensor, "new old"]:
    """How much of each pixel along a side is in each new one: its two neighbours' shares, at the border all of one.

    Computed on the device: a constant sent there would be sent for every step.
    """
    centres = (torch.arange(new, device=device, dtype=torch.float32) + 0.5) * (old / new) - 0.5
    pixels = torch.arange(old, device=device, dtype=torch.float32)
    return (1.0 - (centres.clamp(0.0, old - 1.0)[:, None] - pixels).abs()).clamp(min=0.0)
