"""An optimiser's step on XLA as one computation: torch's own arithmetic, traced once."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from typing import Any

import torch
from torch import Tensor

from cifar_imbalance.runtimes.xla_trace import TracedOnce


def trace_steps_once(optimizer: torch.optim.Optimizer) -> None:
    """Let `optimizer.step()` trace its class's step once for each set of parameters that have a gradient.

    Rates are data; other settings are constants. Hooks are called as ever.
    """
    traced: dict[tuple[int, ...], TracedOnce] = {}

    @torch.no_grad()
    def step(optimizer: torch.optim.Optimizer) -> None:
        groups = [[one for one in group["params"] if one.grad is not None] for group in optimizer.param_groups]
        parameters = [one for group in groups for one in group]
        own = [tensor for one in parameters for tensor in (one, *_tensors(optimizer.state[one]).values())]
        read = [one.grad for one in parameters] + [group["lr"] for group in optimizer.param_groups]
        key = tuple(map(id, parameters))
        if key not in traced:
            traced[key] = TracedOnce(lambda *tensors: _after_a_step(optimizer, groups, tensors), "optimizer_step")
        torch._foreach_copy_(own, list(traced[key]([*own, *read])))

    hooked = torch.optim.Optimizer.profile_hook_step(step)
    optimizer.step = lambda: hooked(optimizer)  # type: ignore[method-assign, assignment]


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _after_a_step(
    optimizer: torch.optim.Optimizer, groups: list[list[Tensor]], tensors: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """What a step makes of the parameters and their state: `tensors` are these, then the gradients and the rates."""
    given = iter([tensor.clone() for tensor in tensors])  # the step works in place
    twin = copy.copy(optimizer)  # with torch's own step: a copy takes no other attributes over than settings and state
    twin._optimizer_step_pre_hooks, twin._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
    twin.state, twin.param_groups = defaultdict(dict), []
    own: list[Tensor] = []
    for group, parameters in zip(optimizer.param_groups, groups, strict=True):
        copies = []
        for parameter in parameters:
            copies.append(next(given))
            state = {name: next(given) for name in _tensors(optimizer.state[parameter])}
            twin.state[copies[-1]] = {**optimizer.state[parameter], **state}
            own += copies[-1], *state.values()
        twin.param_groups.append({**group, "params": copies})
    for group in twin.param_groups:
        for one in group["params"]:
            one.grad = next(given)
    for group in twin.param_groups:
        group["lr"] = next(given).requires_grad_()
    type(twin).step(twin)
    return tuple(own)
