"""MaxNorm: after each epoch the head's class vectors are cut to a largest norm (Alshammari 2022)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ClassVectors = Float[Tensor, "classes features"]


def norm_limit(vectors: ClassVectors, share: float) -> float:
    """The norm that lies `share` of the way from the smallest to the largest norm of the class vectors."""
    norms = vectors.detach().norm(dim=1)
    return float(torch.lerp(norms.min(), norms.max(), share))


@torch.no_grad()
def cut_to_norm(vectors: ClassVectors, limit: float) -> None:
    """Shorten the class vectors that are longer than `limit`, in place: w <- w min(1, limit / |w|)."""
    norms = vectors.norm(dim=1, keepdim=True)
    vectors.mul_((limit / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0))
