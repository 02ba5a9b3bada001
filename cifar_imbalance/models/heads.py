"""The classifier of a network, as named by timm: its layers and their initialisation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from cifar_imbalance.errors import UsageError


class CosineHead(nn.Module):
    """Cosines of the features and a vector of each class, times `scale` (Liu 2019; for LDAM, Cao 2019, section 3.2).

    The class vectors start uniform in [-1, 1] and normalised.
    """

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(normalize(torch.empty(classes, features).uniform_(-1, 1), dim=1))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        return self.scale * linear(normalize(x, dim=1), normalize(self.weight, dim=1))


def give_cosine_head(module: nn.Module, scale: float, *, name: str) -> None:
    """Replace the linear head of `module`. Raises UsageError if it has none."""
    prefixes = head_prefixes(module)
    place = prefixes[0].removesuffix(".") if len(prefixes) == 1 else ""
    head = dict(module.named_modules()).get(place) if place else None
    if not isinstance(head, nn.Linear):
        raise UsageError(f"model.cosine_scale={scale}: {name} has no single linear head; leave it out")
    parent, _, attribute = place.rpartition(".")
    setattr(module.get_submodule(parent), attribute, CosineHead(head.in_features, head.out_features, scale))


def base_and_head(module: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers that have parameters, from the input on (in timm's order of names)."""
    prefixes = head_prefixes(module)
    base: list[nn.Module] = []
    head: list[nn.Module] = []
    for name, layer in module.named_modules():
        if next(layer.parameters(recurse=False), None) is not None:
            (head if f"{name}.".startswith(prefixes) else base).append(layer)
    return base, head


def head_prefixes(module: nn.Module) -> tuple[str, ...]:
    """The prefixes of the classifier's parameter names; empty if timm does not define it."""
    names = getattr(module, "default_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def init_head_as_keras(module: nn.Module) -> None:
    """Glorot uniform weights (Glorot and Bengio 2010, eq. 16) and a bias of 0.

    timm's EfficientNets draw a head's weights from U(-r, r) with r = 1 / sqrt(classes), 0.32 for ten classes instead of
    0.07.
    """
    for name, parameter in module.named_parameters():
        if name.startswith(head_prefixes(module)):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
