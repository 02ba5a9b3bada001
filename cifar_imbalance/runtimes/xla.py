"""torch_xla: TPU cores, or XLA's own CPU device. One process, every tensor on a mesh with one axis, `data`.

The batch is split along the axis, everything else is replicated on every device; XLA's partitioner (GSPMD) does the
rest, so one program runs on any number of cores and batch statistics are those of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.xla_convolutions import use_xla_cpu_forms
from cifar_imbalance.runtimes.xla_optimizer import trace_steps_once

SMALLEST_RATE = 1e-30  # changes no float32 weight, and its inverse is a finite float32


class XlaRuntime(DeviceRuntime):
    reading_is_free = False

    def __init__(self, name: str, config: Runtime) -> None:
        os.environ["PJRT_DEVICE"] = "TPU" if name == "tpu" else "CPU"
        if name == "xla":
            os.environ["CPU_NUM_DEVICES"] = str(config.devices or 1)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # each compilation warns that Shardy will replace GSPMD

        import torch_xla
        import torch_xla.core.xla_model as xla_model
        import torch_xla.distributed.spmd as spmd
        import torch_xla.runtime as xla_runtime

        self._torch_xla = torch_xla
        self._spmd = spmd
        self._model = xla_model
        xla_runtime.use_spmd()
        self.name = name
        self.device = torch_xla.device()  # initialises XLA, before any backward pass of this process on the CPU
        devices = xla_runtime.global_runtime_device_count()
        if config.devices not in (None, devices):
            raise UsageError(f"runtime.devices={config.devices}: XLA has {devices} in this process")
        self.devices = devices
        self._mesh = spmd.Mesh(np.arange(devices), (devices,), ("data",))
        self._bfloat16 = config.precision == "bfloat16"

    def describe(self) -> dict[str, Any]:
        return {"runtime": self.name, "devices": self.devices, "torch_xla": self._torch_xla.__version__}

    def place(self, tensor: Tensor) -> Tensor:
        return self._send(tensor, (None,) * tensor.dim())

    def place_batch(self, tensor: Tensor, axis: int = 0) -> Tensor:
        return self._send(tensor, tuple("data" if k == axis else None for k in range(tensor.dim())))

    def _send(self, tensor: Tensor, partition: tuple[str | None, ...]) -> Tensor:
        # Tensor.to would make the scalars 0 and 1 constants of the graph, and leave state without the sharding that it
        # has after the first step: in both cases the second step would be a different graph.
        sharding = self._spmd.ShardingSpec(self._mesh, partition)
        return self._model.send_cpu_data_to_device([tensor.detach()], self.device, sharding)[0]  # type: ignore[index]

    def place_model(self, module: nn.Module) -> nn.Module:
        if self.name == "xla":
            use_xla_cpu_forms(module)
        return module._apply(self.place)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function  # traced as it runs, compiled at the end of the step

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("xla", torch.bfloat16) if self._bfloat16 else nullcontext()

    def learning_rate(self, value: float) -> Tensor:
        # torch.optim.SGD reads a rate on the host unless it requires a gradient; under no_grad the two are the same.
        # Its capturable Adam divides by the rate: at exactly 0 a parameter without a gradient so far becomes 0 / 0.
        return self.place(torch.tensor(max(value, SMALLEST_RATE))).requires_grad_()

    def optimizer_variant(self) -> dict[str, Any]:
        return {"foreach": False, "capturable": True}

    def prepare_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self.name == "xla":
            trace_steps_once(optimizer)

    def end_step(self) -> None:
        self._torch_xla.sync()

    def wait(self) -> None:
        self._torch_xla.sync(wait=True)
