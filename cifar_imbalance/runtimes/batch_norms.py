"""Batch norms with fixed statistics on XLA: torch_xla (2.9) computes them, but fails at their gradient.

Its backward pass expects the statistics of the batch, of which a batch norm in evaluation mode has none ("the size of
offset factor is 0"). With `model.freeze_batch_norm` every step needs that gradient. Written out as a factor and a shift
of each channel they are the same function, whose gradient is that of a product and a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode


def use_affine_forms(module: nn.Module) -> None:
    """Let the batch norms of `module` that are in evaluation mode be factors and shifts where gradients are needed."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.forward = partial(_forward, part, part.forward)  # type: ignore[method-assign]


def affine(
    images: Float[Tensor, "batch channels *sides"],
    mean: Float[Tensor, " channels"],
    variance: Float[Tensor, " channels"],
    weight: Float[Tensor, " channels"] | None,
    bias: Float[Tensor, " channels"] | None,
    eps: float,
) -> Float[Tensor, "batch channels *sides"]:
    """Images normalised by given statistics."""
    factor = torch.rsqrt(variance + eps)
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    shape = (1, -1, *[1] * (images.dim() - 2))
    return images * factor.view(shape) + shift.view(shape)


def _forward(part: nn.Module, plain: Callable[..., Any], *inputs: Any) -> Any:
    if part.training or not torch.is_grad_enabled():
        return plain(*inputs)
    with _Affine():  # timm's classes do more than a batch norm
        return plain(*inputs)


class _Affine(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is not batch_norm:
            return function(*args, **kwargs)
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given: dict[str, Any] = {"weight": None, "bias": None, "training": False, "eps": 1e-5}
        given |= dict(zip(names, args, strict=False)) | kwargs
        if given["training"]:  # without running statistics
            return function(*args, **kwargs)
        return affine(*(given[name] for name in (*names[:5], "eps")))
