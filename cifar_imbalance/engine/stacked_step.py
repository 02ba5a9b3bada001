"""The training step of several networks at a time: those of an ensemble, stacked.

A small network on small images leaves most of an accelerator idle between its operations. Members that differ in seed
and weights alone have the same operations, so that torch.func.vmap turns the steps of all into one with a further axis;
each member has the batches, the noise and the statistics that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from cifar_imbalance.engine.epoch import EpochPlan
from cifar_imbalance.engine.step import Step, StepInputs, TrainingStep, draws_of
from cifar_imbalance.engine.update import State, Update, WeightAverage
from cifar_imbalance.methods.optimizers import in_format_of, load_state

SHARED = ("step",)  # of an optimiser's state: the number of steps, which all members have in common


class StackedStep(Step):
    """The steps of `members` as one. Loss and records have a last axis, the members.

    The members' own steps have the state between epochs, `begin_epoch` stacks it and `end_epoch` gives it back, so that
    a member is validated, saved and resumed like any run.
    """

    def __init__(self, members: Sequence[TrainingStep]) -> None:
        self._members = members
        self.runtime = members[0].runtime
        shared = all(member.images is members[0].images for member in members)
        own = None if shared else 0  # those of heads alone are features of their own networks
        self._images = members[0].images if shared else self._stacked([member.images for member in members])
        loss = vmap(members[0].function, in_dims=(0, 0, own, None, 0, 0, 0, 0), randomness="error")
        self._loss = self.runtime.compiled(loss)
        self.update = self._update()
        self._is_new = True

    def begin_epoch(self, plans: Sequence[EpochPlan]) -> None:
        """Set the plans whose steps are to be run, one for each member."""
        for member, plan in zip(self._members, plans, strict=True):
            member.set_plan(plan)
        first = self._members[0]
        own = {name: torch.stack([member.rows[name] for member in self._members], dim=1) for name in first.rows}
        shared = {name: first.rows[name] for name in ("rate", "position")}
        self._rows = self.runtime.place_rows({**own, **shared}, axis=2)
        if not self._is_new:
            self._take_state()
        self._is_new = False
        for name, parameter in self.update.parameters.items():
            parameter.requires_grad_(first.update.parameters[name].requires_grad)
        classes = [member.classes for member in self._members]
        self._classes = {name: self._stacked([one[name] for one in classes]) for name in first.classes}
        self.records = self.runtime.place(torch.zeros(2, len(plans[0]), len(plans)))

    def end_epoch(self) -> None:
        """Give the members their parameters, statistics, averages and optimiser states."""
        to_host = self.runtime.to_host
        states = [{name: to_host(tensor) for name, tensor in state.items()} for state in _states_of(self.update)]
        of_optimizer = {
            index: {name: to_host(value) if isinstance(value, Tensor) else value for name, value in values.items()}
            for index, values in self.update.optimizer.state_dict()["state"].items()
        }
        for number, member in enumerate(self._members):
            for theirs, stacked in zip(_states_of(member.update), states, strict=True):
                for name, tensor in theirs.items():
                    tensor.data = in_format_of(tensor, self.runtime.place(stacked[name][number].clone()))
            own = {
                index: {name: _part(name, v, number) for name, v in vs.items()} for index, vs in of_optimizer.items()
            }
            load_state(member.update.optimizer, own, self.runtime.place)

    def _inputs(self, position: int, row: State) -> StepInputs:
        images = [member.host_images(position) for member in self._members]
        together = {name: torch.stack([one[name] for one in images]) for name in images[0]}
        sent = {name: self.runtime.place_batch(values, axis=1) for name, values in together.items()}
        return (
            self.update.parameters,
            self.update.buffers,
            self._images,
            self._members[0].labels,
            row["indices"],
            {**draws_of(row), **sent},
            self._classes,
            row["seed"],
        )

    def _update(self) -> Update:
        """What the stacked step changes: tensors of the members' shapes, with one more axis."""
        updates = [member.update for member in self._members]
        stacked = [
            {name: self._stacked([state[name] for state in states]) for name in states[0]}
            for states in zip(*map(_states_of, updates), strict=True)
        ]
        (parameters, buffers), means = stacked[:2], stacked[2:]
        average, norm = updates[0].average, self._members[0].clip_norm
        if average is not None:
            average = WeightAverage(means[0], {**parameters, **buffers}, average.decay)
        clip = None if norm is None else partial(_clip_each, max_norm=norm)
        names = {parameter: name for name, parameter in updates[0].parameters.items()}
        groups = [
            {**group, "params": [parameters[names[parameter]].requires_grad_() for parameter in group["params"]]}
            for group in updates[0].optimizer.param_groups
        ]
        kind: Callable[[Any], torch.optim.Optimizer] = type(updates[0].optimizer)
        optimizer = kind(groups)
        load_state(optimizer, self._optimizer_state(), self.runtime.place)
        self.runtime.prepare_optimizer(optimizer)
        return Update(parameters, buffers, optimizer, clip, average)

    def _take_state(self) -> None:
        """Stack the members' parameters, statistics, averages and optimiser states."""
        members = [_states_of(member.update) for member in self._members]
        for ours, *theirs in zip(_states_of(self.update), *members, strict=True):
            for name, tensor in ours.items():
                tensor.data = self._stacked([state[name] for state in theirs])
        load_state(self.update.optimizer, self._optimizer_state(), self.runtime.place)

    def _optimizer_state(self) -> dict[int, Any]:
        optimizers = [member.update.optimizer for member in self._members]
        states = [one.state_dict()["state"] for one in optimizers]

        def together(index: int, name: str) -> Any:
            values = [state[index][name] for state in states]
            if not isinstance(values[0], Tensor):
                return values[0]
            on_host = [self.runtime.to_host(value) for value in values]
            return on_host[0].clone() if name in SHARED else torch.stack(on_host)

        return {index: {name: together(index, name) for name in values} for index, values in states[0].items()}

    def _stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        # By way of the host: on XLA a stack on the device would be a graph of its own.
        return self.runtime.place(torch.stack([self.runtime.to_host(tensor).contiguous() for tensor in tensors]))


def _part(name: str, value: Any, number: int) -> Any:
    """What a member has of an entry of the optimiser's stacked state, which is on the host."""
    if not isinstance(value, Tensor):
        return value
    return value.clone() if name in SHARED else value[number].clone()


def _states_of(update: Update) -> list[State]:
    average = [] if update.average is None else [update.average.mean]
    return [update.parameters, update.buffers, *average]


def _clip_each(parameters: Sequence[Tensor], max_norm: float) -> None:
    """Scale the gradients [members, ...] of each member to a norm of at most `max_norm`, as clip_grad_norm_ does."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    share = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share.view(-1, *[1] * (gradient.dim() - 1)))
