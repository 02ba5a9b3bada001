"""PyTorch's own devices: the CPU and CUDA."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.configuration.hardware import free_cores
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runtimes.base import DeviceRuntime, Rows
from cifar_imbalance.runtimes.convolutions import use_small_map_forms
from cifar_imbalance.runtimes.processors import this_processor

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_INT = 2**31 - 1


class NativeRuntime(DeviceRuntime):
    """One CPU or one CUDA device; convolutions in channels_last, optimisers fused into one kernel."""

    def __init__(self, name: str, config: Runtime, *, deterministic: bool) -> None:
        if name == "cuda" and not torch.cuda.is_available():
            raise UsageError("runtime=cuda: torch finds no CUDA device here; allowed are runtime=auto, cpu")
        self.threads = config.threads
        if name == "cpu":
            self.threads = config.threads or free_cores()
            self._processor = this_processor()
            _keep_freed_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        self.name = name
        self.device = torch.device(name)
        self.reading_is_free = name == "cpu"
        self._compile = config.compile
        self._bfloat16 = config.precision == "bfloat16"

    def describe(self) -> dict[str, Any]:
        if self.name == "cuda":
            return {"runtime": self.name, "device": torch.cuda.get_device_name()}
        return {
            "runtime": self.name,
            "threads": self.threads,
            "instructions": torch.backends.cpu.get_cpu_capability(),  # such as AVX2, AVX512
            "forms": self._processor.name,  # the row of processors.py
        }

    def place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)  # a copy to the GPU need not wait for its work

    def place_batch(self, tensor: Tensor, axis: int = 0) -> Tensor:
        return self.place(tensor)

    def place_rows(self, rows: Mapping[str, Tensor], axis: int = 1) -> Rows:
        placed = {name: self.place(values) for name, values in rows.items()}
        return lambda position: {name: values[position] for name, values in placed.items()}

    def place_model(self, module: nn.Module) -> nn.Module:
        if self.name == "cpu":
            use_small_map_forms(module, self._processor.product_map)
            for part in module.modules():
                if isinstance(part, nn.SiLU):
                    part.inplace = False  # in place, autograd keeps a copy of what it overwrites
        return module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not self._compile:
            return function
        # The small-map convolutions are such functions; without this they are recompiled in every process.
        torch._functorch.config.autograd_cache_allow_custom_autograd_functions = True
        return torch.compile(function, fullgraph=True, dynamic=False)

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._bfloat16 else nullcontext()

    def learning_rate(self, rate: Tensor) -> Tensor:
        return rate

    def optimizer_variant(self) -> dict[str, Any]:
        return {"fused": True}

    def prepare_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        pass  # its variant is fused into one kernel

    def end_step(self) -> None:
        pass  # operations are dispatched eagerly

    def wait(self) -> None:
        if self.name == "cuda":
            torch.cuda.synchronize()


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory: it would return that of each step's larger tensors to the kernel.

    A step of B0 then causes no page faults instead of 8,000, and takes a tenth less time. Only glibc has these options.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for switch in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(switch, LARGEST_INT)
