"""torch.optim's optimisers from the configuration, with their state initialised before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cifar_imbalance.configuration import fields


def _betas(block: fields.Adam | None) -> tuple[float, float]:
    assert block is not None  # set by the configuration's choice
    return block.betas[0], block.betas[1]


def _adam(groups: list[dict[str, Any]], config: fields.Optimizer, variant: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, betas=_betas(config.adam), **variant)


def _adamw(groups: list[dict[str, Any]], config: fields.Optimizer, variant: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=_betas(config.adamw), **variant)


def _sgd(groups: list[dict[str, Any]], config: fields.Optimizer, variant: dict[str, Any]) -> torch.optim.Optimizer:
    options = {name: value for name, value in variant.items() if name != "capturable"}  # not an argument of SGD
    assert config.sgd is not None
    return torch.optim.SGD(groups, momentum=config.sgd.momentum, nesterov=config.sgd.nesterov, **options)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}


def parameter_groups(module: nn.Module, config: fields.Optimizer) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by weight decay.

    With `decay_norm_and_bias` false, vectors and scalars (norms' weights and biases, all biases) are not decayed.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if config.decay_norm_and_bias:
        return [{"params": trainable, "weight_decay": config.weight_decay}]
    return [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(
    module: nn.Module, config: fields.Optimizer, *, learning_rate: Tensor, variant: dict[str, Any]
) -> torch.optim.Optimizer:
    """The optimiser of `module`'s parameters. `learning_rate` is a scalar tensor, replaced before each step.

    `variant` chooses torch's implementation (fused, foreach, capturable) and comes from the runtime.
    """
    groups = [{**group, "lr": learning_rate} for group in parameter_groups(module, config) if group["params"]]
    return OPTIMIZERS[config.name](groups, config, variant)


def fresh_state(module: nn.Module, config: fields.Optimizer) -> dict[int, Any]:
    """The optimiser's state before the first step, on the host: `state_dict()["state"]`, all zero.

    torch.optim creates its state in the first step, which on XLA would be a separate graph.
    """
    optimizer = make_optimizer(module, config, learning_rate=torch.tensor(0.0), variant={"foreach": False})
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()  # at rate 0 this changes nothing
    optimizer.zero_grad(set_to_none=True)
    for values in optimizer.state.values():
        for value in values.values():
            if isinstance(value, Tensor):
                value.zero_()
    return optimizer.state_dict()["state"]


def load_state(optimizer: torch.optim.Optimizer, state: dict[int, Any], place: Callable[[Tensor], Tensor]) -> None:
    """Load the host state of another optimiser of the same parameters, whatever the implementation of either.

    `place` moves a tensor to the device. State with a parameter's shape also gets its memory format: the fused kernels
    iterate over memory, not over indices.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in state.items():
        parameter = parameters[index]

        def placed(value: Any, parameter: Tensor = parameter) -> Any:
            if not isinstance(value, Tensor):
                return value
            return in_format_of(parameter, place(value)).detach()

        optimizer.state[parameter] = {name: placed(value) for name, value in values.items()}


def in_format_of(tensor: Tensor, value: Tensor) -> Tensor:
    """`value`, if it has the shape of `tensor` in the memory format of that."""
    if value.shape != tensor.shape or value.stride() == tensor.stride():
        return value
    return torch.empty_like(tensor).copy_(value).detach()
