"""The interface of a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cifar_imbalance.configuration.fields import Runtime


class DeviceRuntime(ABC):
    """A device and its specifics. Support for another one (TorchTPU, say) is one more file with such a class."""

    name: str
    device: torch.device
    devices: int = 1
    threads: int | None = None
    """The threads that compute on a CPU, and on CUDA those that were asked for."""
    reading_is_free: bool
    """Whether a value can be read inside an epoch without waiting for the device."""

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
    def place_model(self, module: nn.Module) -> nn.Module:
        """Move the module to the device, in the memory format that is fastest there."""

    @abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A pure tensor function in the form that runs fastest here."""

    @abstractmethod
    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of a forward pass."""

    @abstractmethod
    def learning_rate(self, value: float) -> Tensor:
        """A learning rate as a scalar tensor, so that a new value does not cause a new graph."""

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

    def to_host(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu")
