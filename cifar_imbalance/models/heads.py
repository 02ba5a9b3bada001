"""The classifier of a network, as named by timm: its layers and their initialisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from cifar_imbalance.configuration import fields
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


class ScaledHead(nn.Linear):
    """A linear head whose logits are multiplied by a factor of each class, all that is learnt of it.

    Learnable weight scaling, LWS (Kang 2020, section 4; as in the authors' code, the bias is multiplied too).
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__(head.in_features, head.out_features, bias=head.bias is not None)
        self.load_state_dict(head.state_dict())
        self.factor = nn.Parameter(torch.ones(head.out_features))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        return self.factor * super().forward(x)


def give_cosine_head(module: nn.Module, scale: float, *, name: str) -> None:
    """Replace the linear head of `module`. Raises UsageError if it has none."""
    head = _linear_head(module, f"model.cosine_scale={scale}", name)
    _replace_head(module, CosineHead(head.in_features, head.out_features, scale))


def give_class_factors(module: nn.Module, *, name: str) -> None:
    """Replace the linear head of `module` by the same with a factor of each class. Raises UsageError if it has none."""
    _replace_head(module, ScaledHead(_linear_head(module, "model.class_factors=true", name)))


def _linear_head(module: nn.Module, field: str, name: str) -> nn.Linear:
    head = single_head(module)
    if not isinstance(head, nn.Linear):
        raise UsageError(f"{field}: {name} has no single linear head; leave it out")
    return head


def class_vectors(module: nn.Module, model: fields.Model) -> Float[Tensor, "classes features"]:
    """The weight of the linear head. Raises UsageError if there is none."""
    return _linear_head(module, "training.head_max_norm", model.name).weight


def single_head(module: nn.Module) -> nn.Module | None:
    """The layer that is the whole classifier, if there is one."""
    prefixes = head_prefixes(module)
    return dict(module.named_modules()).get(prefixes[0].removesuffix(".")) if len(prefixes) == 1 else None


def _replace_head(module: nn.Module, head: nn.Module) -> None:
    parent, _, attribute = head_prefixes(module)[0].removesuffix(".").rpartition(".")
    setattr(module.get_submodule(parent), attribute, head)


def saved_head(weights: Mapping[str, Tensor], *, name: str) -> tuple[Tensor, Tensor]:
    """Class vectors [K, features] and bias [K] of the linear head in a state dict of the timm model `name`.

    Raises UsageError if the model has no single linear head.
    """
    place = getattr(timm.get_pretrained_cfg(name), "classifier", None)
    vectors = weights.get(f"{place}.weight")
    if vectors is None or vectors.ndim != 2:
        raise UsageError(f"{name} has no single linear head")
    factor = weights.get(f"{place}.factor", torch.ones(len(vectors)))
    bias = weights.get(f"{place}.bias", torch.zeros(len(vectors)))
    return factor[:, None] * vectors, factor * bias


@contextmanager
def without_head(module: nn.Module) -> Iterator[None]:
    """In the block `module` gives what its single head would receive, the features [batch, features]."""
    head = single_head(module)
    assert head is not None
    _replace_head(module, nn.Identity())
    try:
        yield
    finally:
        _replace_head(module, head)


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
