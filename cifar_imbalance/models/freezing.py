"""Freezing: which parameters are trained, and which batch norms update their statistics."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cifar_imbalance.configuration import fields
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.heads import ScaledHead, base_and_head, head_prefixes


def set_trainable(module: nn.Module, model: fields.Model, *, head_only: bool) -> None:
    """Put `module` into training mode, with gradients only for what is trained.

    The base is everything but the classifier; the first `model.freeze_ratio` of its layers is frozen, and with
    `head_only` all of it. Batch norms of frozen layers use their running statistics, as in Keras, and with
    `model.freeze_batch_norm` all batch norms do. Of a head with class factors only these are trained.
    """
    base, head = base_and_head(module)
    frozen = base if head_only else base[: round(model.freeze_ratio * len(base))]
    module.train()
    for layer in [*base, *head]:
        for name, parameter in layer.named_parameters(recurse=False):
            learnt = name == "factor" if isinstance(layer, ScaledHead) else layer not in frozen
            parameter.requires_grad_(learnt)
    for part in module.modules():
        if isinstance(part, _BatchNorm) and (model.freeze_batch_norm or part in frozen):
            part.eval()


def check_head(module: nn.Module, model: fields.Model, *, burnin_epochs: int) -> None:
    """Raises UsageError if a part is to be frozen but it is unknown which part is the head."""
    if head_prefixes(module):
        return
    frozen = {"model.freeze_ratio": model.freeze_ratio, "schedule.four_phases.burnin_epochs": burnin_epochs}
    for field, value in frozen.items():
        if value:
            raise UsageError(
                f"{field}={value}: timm does not define which layer of {model.name} is its head; allowed is 0"
            )
