"""PyTorch's own devices: the CPU and CUDA."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cifar_imbalance.config import Runtime
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.convolutions import use_small_map_forms


class NativeRuntime(DeviceRuntime):
    """One CPU or one CUDA device; convolutions in channels_last, optimisers fused into one kernel."""

    def __init__(self, name: str, config: Runtime, *, deterministic: bool) -> None:
        if name == "cuda" and not torch.cuda.is_available():
            raise UsageError("runtime=cuda: torch finds no CUDA device here; allowed are runtime=auto, cpu")
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        elif name == "cpu":
            torch.set_num_threads(len(os.sched_getaffinity(0)))
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        self.name = name
        self.device = torch.device(name)
        self.reading_is_free = name == "cpu"
        self._compile = config.compile
        self._bfloat16 = config.precision == "bfloat16"

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = {"runtime": self.name, "threads": torch.get_num_threads()}
        if self.name == "cuda":
            described["device"] = torch.cuda.get_device_name()
        return described

    def place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)

    def place_batch(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def place_model(self, module: nn.Module) -> nn.Module:
        if self.name == "cpu":
            use_small_map_forms(module)
        return module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, fullgraph=True, dynamic=False) if self._compile else function

    def seed_noise(self, seed: int) -> None:
        torch.manual_seed(seed)

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._bfloat16 else nullcontext()

    def learning_rate(self, value: float) -> Tensor:
        return torch.tensor(value, device=self.device)

    def optimizer_variant(self) -> dict[str, Any]:
        return {"fused": True}

    def end_step(self) -> None:
        pass

    def wait(self) -> None:
        if self.name == "cuda":
            torch.cuda.synchronize()
