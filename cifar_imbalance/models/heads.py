"""The classifier of a network, as named by timm: its layers and their initialisation."""

from __future__ import annotations

from torch import nn


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
