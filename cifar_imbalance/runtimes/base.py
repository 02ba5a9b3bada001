"""The interface of a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cifar_imbalance.configuration.fields import Runtime

Rows = Callable[[int], dict[str, Tensor]]
"""What an epoch's step at a position is given, on the device. Steps are taken in order, from 0."""


class DeviceRuntime(ABC):
    """A device and its specifics. Support for another one (TorchTPU, say) is one more file with such a class."""

    name: str
    device: torch.device
    devices: int = 1
    processes: int = 1
    """How many processes run the same program on these devices, one on each host of a TPU pod."""
    process: int = 0
    """The number of this one: the first alone writes and prints."""
    threads: int | None = None
    """The threads that compute on a CPU, and on CUDA those that were asked for."""
    reading_is_free: bool
    """Whether a value can be read inside an epoch without waiting for the device."""
    smallest_rate: float = 0.0
    """The least learning rate that the optimisers compute with here."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The device's entries in environment.json."""

    def settled(self, config: Runtime) -> Runtime:
        """`config` with what this runtime chose by itself: what config.yaml says, so that a resumed run has it too."""
        return replace(config, threads=self.threads)

    @abstractmethod
    def place(self, tensor: Tensor) -> Tensor:
        """Copy a host tensor to the device, replicated on every part of it."""

    @abstractmethod
    def place_batch(self, tensor: Tensor, axis: int = 0) -> Tensor:
        """Copy a host tensor to the device, split over its parts along `axis`, the batch."""

    @abstractmethod
    def place_rows(self, rows: Mapping[str, Tensor], axis: int = 1) -> Rows:
        """Copy an epoch's host tensors [steps, ...] to the device at once, for its steps to take.

        Those that have it are split over the device's parts along `axis`, the batch.
        """

    @abstractmethod
    def place_model(self, module: nn.Module) -> nn.Module:
        """Move the module to the device, in the memory format that is fastest there."""

    def load_weights(self, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Load a host state dict into a placed module. Raises what `load_state_dict` does."""
        module.load_state_dict(weights)

    @abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A pure tensor function in the form that runs fastest here."""

    def resized(
        self, images: Float[Tensor, "batch 3 height width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch 3 new_height new_width"]:
        """Images at another size (height, width), bilinearly."""
        return interpolate(images, size, mode="bilinear", align_corners=False)

    @abstractmethod
    def autocast(self) -> AbstractContextManager[Any]:
        """A forward pass: its precision, and the forms of operators that it is computed by."""

    @abstractmethod
    def learning_rate(self, rate: Tensor) -> Tensor:
        """A scalar on the device as the optimisers take it, so that a new value does not cause a new graph."""

    @abstractmethod
    def optimizer_variant(self) -> dict[str, Any]:
        """The keyword arguments of torch.optim's classes that choose an implementation."""

    @abstractmethod
    def prepare_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser, whose state is on the device, step in the way that is fastest here."""

    @abstractmethod
    def end_step(self) -> None:
        """Mark the end of a step: its work may be sent to the device."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until the device has finished all its work."""

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor that is split like a batch, gathered on every part of the device: only so can it be read."""
        return tensor

    def to_host(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu")
