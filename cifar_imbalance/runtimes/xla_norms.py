"""Batch, layer and group norm as means over their inputs: XLA's partitioner splits them over devices.

torch_xla computes all three by XLA's batch-norm instructions, which the partitioner does not split: it gathers the
whole batch on every device, and every device then computes all that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Maps = Float[Tensor, "batch channels *rest"]
Channels = Float[Tensor, " channels"]


def batch_norm(
    input: Maps,
    running_mean: Channels | None,
    running_var: Channels | None,
    weight: Channels | None = None,
    bias: Channels | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Maps:
    """As torch.nn.functional.batch_norm; with `training` the running statistics are updated in place."""
    channels = (1, -1, *(1,) * (input.dim() - 2))
    if training:
        x, mean, var = _Standardised.apply(input.float(), (0, *range(2, input.dim())), eps)
        if running_mean is not None and running_var is not None:
            count = input.numel() // input.shape[1]
            # Not lerp_, of which torch.func.vmap makes a loop over the members of a stack.
            running_mean.mul_(1 - momentum).add_(mean.flatten() * momentum)
            running_var.mul_(1 - momentum).add_(var.flatten() * (count / (count - 1) * momentum))
    else:
        assert running_mean is not None and running_var is not None  # as torch requires
        x = (input.float() - running_mean.view(channels)) * torch.rsqrt(running_var + eps).view(channels)
    return _scaled(x, weight, bias, channels).to(input.dtype)


def layer_norm(
    input: Float[Tensor, "*all"],
    normalized_shape: Sequence[int],
    weight: Float[Tensor, "*normalized"] | None = None,
    bias: Float[Tensor, "*normalized"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*all"]:
    """As torch.nn.functional.layer_norm."""
    x, _, _ = _Standardised.apply(input.float(), tuple(range(-len(normalized_shape), 0)), eps)
    return _scaled(x, weight, bias, tuple(normalized_shape))


def group_norm(
    input: Maps, num_groups: int, weight: Channels | None = None, bias: Channels | None = None, eps: float = 1e-5
) -> Maps:
    """As torch.nn.functional.group_norm."""
    groups = input.float().unflatten(1, (num_groups, -1))
    x, _, _ = _Standardised.apply(groups, tuple(range(2, groups.dim())), eps)
    return _scaled(x.flatten(1, 2), weight, bias, (1, -1, *(1,) * (input.dim() - 2)))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    x = x if weight is None else x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


class _Standardised(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) over `dims`, with mean and variance; these have no gradient of their own."""

    generate_vmap_rule = True  # so that models can be stacked

    @staticmethod
    def forward(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
        var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(var + eps), mean, var

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _, ctx.dims, ctx.eps = inputs
        y, mean, var = output
        ctx.save_for_backward(y, var)
        ctx.mark_non_differentiable(mean, var)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, None, None]:
        # What autograd derives from the means takes longer: 40 % of a step of test_efficientnet on XLA's CPU.
        y, var = ctx.saved_tensors
        mean, along = (part.mean(ctx.dims, keepdim=True) for part in (gradient, gradient * y))
        return (gradient - mean - y * along) * torch.rsqrt(var + ctx.eps), None, None


FORMS: dict[Any, Callable[..., Tensor]] = {
    functional.batch_norm: batch_norm,
    functional.layer_norm: layer_norm,
    functional.group_norm: group_norm,
}


class XlaNorms(TorchFunctionMode):
    """In the block, norms are those of this file where torch_xla's will not do.

    On several `devices` these are all. On one they are batch norms with fixed statistics whose gradient is needed, as
    with model.freeze_batch_norm: torch_xla (2.9) fails at it, as it expects statistics of the batch.
    """

    def __init__(self, devices: int) -> None:
        super().__init__()
        self._split = devices > 1

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        form, kwargs = FORMS.get(function), kwargs or {}
        if form is not None and (self._split or (form is batch_norm and _fixed(args, kwargs))):
            return form(*args, **kwargs)
        return function(*args, **kwargs)


def _fixed(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    training = signature(batch_norm).bind(*args, **kwargs).arguments.get("training", False)
    return torch.is_grad_enabled() and not training
