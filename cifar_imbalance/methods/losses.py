"""Losses: pure functions of logits and labels, looked up by `loss.name`."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, label_smoothing: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the batch; the target keeps 1 - label_smoothing, all classes share the rest equally."""
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)


LOSSES = {"cross_entropy": cross_entropy}
