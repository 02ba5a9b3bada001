"""An optimiser's step on XLA, traced once instead of operation by operation for every parameter of every step."""

from __future__ import annotations

import copy
from collections import defaultdict

import torch
from torch import Tensor

from cifar_imbalance.runtimes.xla_trace import TracedOnce


def trace_steps_once(optimizer: torch.optim.Optimizer) -> None:
    """Let `optimizer.step()` trace what its class does once; its hooks are called as before."""
    traced: dict[tuple[int, ...], TracedOnce] = {}  # by the parameters that have a gradient

    @torch.no_grad()
    def step(optimizer: torch.optim.Optimizer) -> None:
        groups = [[p for p in group["params"] if p.grad is not None] for group in optimizer.param_groups]
        own = [tensor for group in groups for p in group for tensor in (p, *_tensors(optimizer.state[p]).values())]
        given = [p.grad for group in groups for p in group] + [group["lr"] for group in optimizer.param_groups]
        key = tuple(id(p) for group in groups for p in group)
        if key not in traced:
            traced[key] = TracedOnce(lambda *tensors: _stepped(optimizer, groups, list(tensors)), "optimizer_step")
        torch._foreach_copy_(own, traced[key]([*own, *given]))

    hooked = torch.optim.Optimizer.profile_hook_step(step)
    optimizer.step = lambda: hooked(optimizer)  # type: ignore[method-assign]


def _tensors(state: dict[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _stepped(
    optimizer: torch.optim.Optimizer, groups: list[list[Tensor]], tensors: list[Tensor]
) -> tuple[Tensor, ...]:
    """What a step makes of the parameters and their state, all of them given as `tensors`, then gradients and rates."""
    left = iter([tensor.clone() for tensor in tensors])  # the step works in place
    twin = copy.copy(optimizer)
    twin.__dict__.pop("step", None)
    twin._optimizer_step_pre_hooks, twin._optimizer_step_post_hooks = type(twin._optimizer_step_pre_hooks)(), type(twin._optimizer_step_post_hooks)()
    twin.state, twin.param_groups = defaultdict(dict), []
    own = []
    for group, parameters in zip(optimizer.param_groups, groups, strict=True):
        copies = []
        for parameter in parameters:
            new = next(left)
            state = {name: next(left) for name in _tensors(optimizer.state[parameter])}
            twin.state[new] = {**optimizer.state[parameter], **state}
            own.extend((new, *state.values()))
            copies.append(new)
        twin.param_groups.append({**group, "params": copies})
    for group in twin.param_groups:
        for new in group["params"]:
            new.grad = next(left)
    for group in twin.param_groups:
        group["lr"] = next(left).requires_grad_()
    type(twin).step(twin)
    return tuple(own)
