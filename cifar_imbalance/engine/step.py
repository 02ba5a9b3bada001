"""The training step and the evaluation step: pure functions on tensors, and the classes that call them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import embedding

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration import fields
from cifar_imbalance.engine.epoch import EpochPlan
from cifar_imbalance.engine.host_stage import HostStage
from cifar_imbalance.engine.update import State, Update, WeightAverage
from cifar_imbalance.methods.distillation import distilled
from cifar_imbalance.methods.losses import LOSSES, weighted_mean
from cifar_imbalance.methods.mixing import MIXING, PARTNERS_FROM_ALL, of_partners
from cifar_imbalance.models.build import BuiltModel
from cifar_imbalance.models.freezing import set_trainable
from cifar_imbalance.models.noise import KeyedNoise
from cifar_imbalance.runtimes.base import DeviceRuntime, Rows

# What a network is given: images, or for a head alone the features of images.
Inputs = UInt8[np.ndarray, "all height width 3"] | Float[np.ndarray, "all features"]
# The arguments of `training_loss`.
StepInputs = tuple[State, State, Tensor, Tensor, Tensor, State, State, Tensor]
# The same on the device: a row for each. A TPU would pad images of three colours to many times their size, or copy the
# whole set in every step to look up those of a batch.
Resident = UInt8[Tensor, "all values"] | Float[Tensor, "all features"]


@dataclass(frozen=True)
class Network:
    """The model as a function of its state: uint8 images in, logits out."""

    module: nn.Module
    scale: Float[Tensor, "1 3 1 1"]
    offset: Float[Tensor, "1 3 1 1"]
    image_size: tuple[int, int]  # before they are resized to
    input_size: tuple[int, int]
    runtime: DeviceRuntime
    noisy: bool

    @classmethod
    def on_device(cls, built: BuiltModel, runtime: DeviceRuntime) -> Network:
        mean, std = torch.tensor(built.mean).view(1, 3, 1, 1), torch.tensor(built.std).view(1, 3, 1, 1)
        scale, offset = runtime.place(1 / (255 * std)), runtime.place(-mean / std)
        module = runtime.place_model(built.module)
        return cls(module, scale, offset, built.image_size, built.input_size, runtime, built.noisy)

    def gather(
        self, images: UInt8[Tensor, "all values"], indices: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The selected images as floats of 0..255, channels_last in memory."""
        return self.as_inputs(looked_up(images, indices))

    def as_inputs(self, images: UInt8[Tensor, "batch values"]) -> Float[Tensor, "batch 3 height width"]:
        return as_floats(images.unflatten(1, (*self.image_size, 3)))

    def logits(
        self,
        parameters: State,
        buffers: State,
        images: Float[Tensor, "batch 3 height width"],
        seed: Int[Tensor, ""] | None = None,
    ) -> Tensor:
        """Logits [batch, classes] in float32 of images of 0..255: resize, normalise, model with noise by `seed`."""
        if images.shape[-2:] != self.input_size:
            images = self.runtime.resized(images, self.input_size)
        noise = KeyedNoise(seed) if self.noisy and seed is not None else nullcontext()
        with self.runtime.autocast(), noise:
            output = functional_call(self.module, (parameters, buffers), (images * self.scale + self.offset,))
        return output.float()


def looked_up(rows: Resident, indices: Int[Tensor, " batch"]) -> Tensor:
    """The rows [batch, ...] at `indices`. torch.func.vmap would make index_select copy all of them for each member."""
    return embedding(indices, rows)


def as_floats(images: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch 3 height width"]:
    """Images as floats of 0..255, channels_last in memory."""
    return images.permute(0, 3, 1, 2).float()


def training_loss(
    parameters: State,
    buffers: State,
    images: Resident,
    labels: Tensor,
    indices: Tensor,
    draws: State,
    classes: State,
    seed: Tensor,
    *,
    network: Network,
    policy: Policy,
    loss: fields.Loss,
    mixing: str,
    temperature: float | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Loss and accuracy of one batch: gather, augment, mix, normalise, model, loss of each image, mean by classes.

    Of a mixed image both labels have a loss and a class weight, which count by the labels' shares. With a `temperature`
    draws have the teacher's logits of the batch.
    """
    pictures = as_floats(draws["host.images"]) if policy.on_host else network.gather(images, indices)
    batch = policy.apply(pictures, draws) if policy.on_device else pictures
    own = labels.index_select(0, indices)
    if mixing != "none":
        partner = draws["mixing.partner"]
        if mixing in PARTNERS_FROM_ALL:
            theirs = of_partners(draws)
            second = as_floats(theirs["host.images"]) if policy.on_host else network.gather(images, partner)
            partners = policy.apply(second, theirs)
            others = labels.index_select(0, partner)
        else:
            partners, others = batch.index_select(0, partner), own.index_select(0, partner)
        batch = MIXING[mixing](batch, partners, draws)
    logits = network.logits(parameters, buffers, batch, seed)
    correct = (logits.detach().argmax(1) == own).float().mean()

    def part(of: Tensor) -> tuple[Tensor, Tensor]:
        return LOSSES[loss.name](logits, of, classes, loss), classes["weight"].index_select(0, of)

    losses, weight = part(own)
    if temperature is not None:
        share = classes["teacher_share"].index_select(0, own)
        losses = distilled(losses, logits, draws["teacher.logits"], share, temperature)
    if mixing == "none":
        return weighted_mean([(losses, weight)]), correct
    (of_others, weight_of_others), share = part(others), draws["mixing.label_share"]
    return weighted_mean([(losses, share * weight), (of_others, (1.0 - share) * weight_of_others)]), correct


def evaluation_logits(
    parameters: State, buffers: State, images: Tensor, *, network: Network
) -> Float[Tensor, "batch classes"]:
    return network.logits(parameters, buffers, network.as_inputs(images))


def draws_of(row: State) -> State:
    """The draws in a step's row: their names, such as "flip.flipped", have a dot."""
    return {name: values for name, values in row.items() if "." in name}


class Step(ABC):
    """Updates weights on one batch. Loss and accuracy of every step are collected on the device, in `records`."""

    update: Update
    records: Float[Tensor, "2 steps ..."]
    runtime: DeviceRuntime
    _rows: Rows
    _loss: Callable[..., tuple[Tensor, Tensor]]

    @abstractmethod
    def _inputs(self, position: int, row: State) -> StepInputs:
        """What the loss is given in the step at this `position` of the plan, whose `row` is on the device."""

    def inputs(self, position: int) -> StepInputs:
        """What the loss is given in the step at this `position` of the plan, the next one, on the device."""
        return self._inputs(position, self._rows(position))

    def __call__(self, position: int) -> Tensor:
        """Run the step at this `position` of the plan, the next one; returns its loss, on the device."""
        row = self._rows(position)
        loss, correct = self._loss(*self._inputs(position, row))
        self.update(loss.sum(), self.runtime.learning_rate(row["rate"]))
        column = torch.stack([loss.detach(), correct]).unsqueeze(1)
        self.records = self.records.index_copy(1, row["position"].unsqueeze(0), column)
        self.runtime.end_step()
        return loss.detach()


class TrainingStep(Step):
    """The step of one network."""

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        *,
        images: Inputs,
        labels: Int[np.ndarray, " all"],
        policy: Policy,
        model: fields.Model,
        loss: fields.Loss,
        mixing: fields.Mixing,
        clip_norm: float | None,
        average: WeightAverage | None,
        teacher: Float[np.ndarray, "all classes"] | None = None,
        temperature: float | None = None,
    ) -> None:
        self.runtime = network.runtime
        self._module = network.module
        self._source = images
        self._host = HostStage(images, policy, mixing.name) if policy.on_host else None
        copied = torch.from_numpy(np.array(images))  # those of the cache are read-only
        self.images: Resident = self.runtime.place(copied.flatten(1))
        self.labels = self.runtime.place(torch.from_numpy(labels))
        self._policy = policy
        self.clip_norm = clip_norm
        clip = None if clip_norm is None else partial(nn.utils.clip_grad_norm_, max_norm=clip_norm)
        parameters: State = dict(network.module.named_parameters())
        buffers = dict(network.module.named_buffers())
        self.update = Update(parameters, buffers, optimizer, clip, average)
        self._model = model
        self._teacher = teacher
        self.function = partial(
            training_loss, network=network, policy=policy, loss=loss, mixing=mixing.name, temperature=temperature
        )
        self._loss = self.runtime.compiled(self.function)
        self.records = torch.zeros(2, 0)

    def share_images(self, other: TrainingStep) -> None:
        """Use the images on the device of `other`, if they are the same."""
        if self._source is other._source:
            self.images = other.images

    def begin_epoch(self, plan: EpochPlan) -> None:
        """Set the plan whose steps are to be run."""
        place = self.runtime.place
        self.set_plan(plan)
        self._rows = self.runtime.place_rows(self.rows)
        self._classes = {name: place(values) for name, values in self.classes.items()}
        self.records = place(torch.zeros(2, len(plan)))

    def set_plan(self, plan: EpochPlan) -> None:
        """Set the plan as far as the host is concerned: what is trained, and `rows` and `classes`, which are sent."""
        set_trainable(self._module, self._model, head_only=plan.head_only)
        draws = self._policy.device_draws(plan.draws)
        if self._teacher is not None:
            draws["teacher.logits"] = self._teacher[plan.indices]
        if self._host is not None:
            self._host.begin_epoch(plan)
        rates = np.maximum(plan.rates, self.runtime.smallest_rate).astype(np.float32)
        each = {"rate": rates, "position": np.arange(len(plan)), "seed": np.array(plan.noise_seeds)}
        self.rows = {name: torch.from_numpy(v) for name, v in {"indices": plan.indices, **each, **draws}.items()}
        self.classes = {name: torch.from_numpy(values) for name, values in plan.classes.on_host().items()}

    def host_images(self, position: int) -> State:
        """The images of the step at this `position` that are augmented on the host, on the host."""
        return {} if self._host is None else self._host.batch(position)

    def _inputs(self, position: int, row: State) -> StepInputs:
        sent = {name: self.runtime.place_batch(images) for name, images in self.host_images(position).items()}
        return (
            self.update.parameters,
            self.update.buffers,
            self.images,
            self.labels,
            row["indices"],
            {**draws_of(row), **sent},
            self._classes,
            row["seed"],
        )


class EvaluationStep:
    """Logits of an image set, in batches of one size: the last one is padded and its logits truncated.

    Batches are gathered on the host, so that sets of any number of images have one graph.
    """

    def __init__(self, network: Network, images: Inputs, batch_size: int) -> None:
        self._runtime = network.runtime
        self._network = network
        self._images = images
        self._batch_size = batch_size
        self._logits = self._runtime.compiled(partial(evaluation_logits, network=network))

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> Float[Tensor, "all classes"]:
        """Logits on the host, with the parameters and statistics of `module`."""
        self._network.module.eval()
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        count = len(self._images)
        parts = []
        for start in range(0, count, self._batch_size):
            indices = np.arange(start, start + self._batch_size).clip(max=count - 1)
            images = self._runtime.place_batch(torch.from_numpy(self._images[indices]).flatten(1))
            parts.append(self._runtime.whole(self._logits(parameters, buffers, images)))
            self._runtime.end_step()
        return torch.cat([self._runtime.to_host(part) for part in parts])[:count]
