"""torch_xla: TPU cores, or XLA's own CPU device. One process, every tensor on a mesh with one axis, `data`.

The batch is split along the axis, everything else is replicated on every device; XLA's partitioner (GSPMD) does the
rest, so one program runs on any number of cores and batch statistics are those of the whole batch.

On a pod every host runs the process, and the mesh has the devices of all. Each makes the same batches, by key, and
torch_xla sends to a host's devices their parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.configuration.hardware import PCI_DEVICES, tpu_chips
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runtimes.base import DeviceRuntime, Rows
from cifar_imbalance.runtimes.xla_convolutions import use_xla_cpu_forms
from cifar_imbalance.runtimes.xla_norms import XlaNorms
from cifar_imbalance.runtimes.xla_optimizer import trace_steps_once
from cifar_imbalance.runtimes.xla_resize import resized


class _Rows:
    """An epoch's rows on the device. The position is counted there, as part of each step, instead of being sent."""

    def __init__(self, placed: dict[str, Tensor], position: Tensor) -> None:
        self.placed = placed
        self._position = position  # [1], of the next step
        self._taken = 0

    def __call__(self, position: int) -> dict[str, Tensor]:
        if position != self._taken:
            raise ValueError(f"step {position} after {self._taken} steps: they are taken in order")
        row = {name: values.index_select(0, self._position).squeeze(0) for name, values in self.placed.items()}
        self._position, self._taken = self._position + 1, self._taken + 1
        return row


class XlaRuntime(DeviceRuntime):
    reading_is_free = False
    # Changes no float32 weight, and its inverse is a finite float32: torch's capturable Adam divides by the rate, and
    # at exactly 0 a parameter without a gradient so far becomes 0 / 0.
    smallest_rate = 1e-30

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
        if not xla_runtime.is_spmd():  # it warns of a second time
            xla_runtime.use_spmd()
        self.name = name
        try:
            # Initialises XLA, before any backward pass of this process on the CPU.
            self.device, devices = torch_xla.device(), xla_runtime.global_runtime_device_count()
        except (RuntimeError, OSError, ValueError) as error:  # another process has the TPU, or there is no driver
            reason = str(error).partition("\n")[0]
            raise UsageError(f"runtime={name}: XLA cannot open the device: {reason}") from error
        if config.devices not in (None, devices):
            raise UsageError(f"runtime.devices={config.devices}: XLA has {devices} in this process")
        self.devices = devices
        self.processes, self.process = xla_runtime.process_count(), xla_runtime.process_index()
        self._mesh = spmd.Mesh(np.arange(devices), (devices,), ("data",))
        self._bfloat16 = config.precision == "bfloat16"

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = {"runtime": self.name, "devices": self.devices}
        if chips := tpu_chips(PCI_DEVICES):  # of this host
            described["tpu"] = chips
        return described | ({"processes": self.processes} if self.processes > 1 else {})

    def place(self, tensor: Tensor) -> Tensor:
        return self._send(tensor, (None,) * tensor.dim())

    def place_batch(self, tensor: Tensor, axis: int = 0) -> Tensor:
        return self._split(tensor, axis)

    def place_rows(self, rows: Mapping[str, Tensor], axis: int = 1) -> Rows:
        placed = {name: self._split(values, axis) for name, values in rows.items()}
        return _Rows(placed, self.place(torch.zeros(1, dtype=torch.int64)))

    def _split(self, tensor: Tensor, axis: int) -> Tensor:
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

    def load_weights(self, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        # Copied into the parameters there are, they would be computed by the next graph, which is then another one.
        module.load_state_dict({name: self.place(tensor) for name, tensor in weights.items()}, assign=True)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function  # traced as it runs, compiled at the end of the step

    def resized(
        self, images: Float[Tensor, "batch 3 height width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch 3 new_height new_width"]:
        return resized(images, size)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        with torch.autocast("xla", torch.bfloat16, enabled=self._bfloat16), XlaNorms(self.devices):
            yield

    def learning_rate(self, rate: Tensor) -> Tensor:
        # torch.optim.SGD reads a rate on the host unless it requires a gradient; under no_grad the two are the same.
        return rate.requires_grad_()

    def optimizer_variant(self) -> dict[str, Any]:
        return {"foreach": False, "capturable": True}

    def whole(self, tensor: Tensor) -> Tensor:
        # Otherwise each reading of a tensor would compile a program that gathers it.
        self._spmd.mark_sharding(tensor, self._mesh, (None,) * tensor.dim())
        return tensor

    def prepare_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self.name == "xla":
            trace_steps_once(optimizer)

    def end_step(self) -> None:
        self._torch_xla.sync()

    def wait(self) -> None:
        self._torch_xla.sync(wait=True)


class StepTraced(Exception):
    """Ends a step that is traced, before it would be sent to the device."""


class TracingRuntime(XlaRuntime):
    """Traces a step on virtual devices of the CPU and does not compute it: what is read from the device is zeros."""

    def __init__(self, config: Runtime) -> None:
        super().__init__("xla", config)
        self.name = "tpu"  # what is traced is what a TPU would be given
        self._tracing = False
        self._computed: Tensor | tuple[Tensor, ...] = ()

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def remembered(*inputs: Any) -> Any:
            self._computed = function(*inputs)
            return self._computed

        return remembered

    def end_step(self) -> None:
        if self._tracing:
            raise StepTraced

    def wait(self) -> None:
        pass

    def to_host(self, tensor: Tensor) -> Tensor:
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def traced(self, step: Callable[[], object], state: Callable[[], Sequence[Tensor]]) -> bytes:
        """The program, an HloModuleProto with the shardings of its inputs, of a `step`: what its pure function returns,
        and the `state` that it leaves.
        """
        with self._as_on_a_tpu():
            with suppress(StepTraced):
                step()
            returned = [self._computed] if isinstance(self._computed, Tensor) else [*self._computed]
            outputs = [tensor.detach() for tensor in (*returned, *state())]
            is_new = self._torch_xla._XLAC._check_tensor_need_materialization(outputs)  # frozen weights are not
            outputs = [tensor for tensor, new in zip(outputs, is_new, strict=True) if new]
            program: bytes = self._torch_xla._XLAC._get_xla_tensors_hlo_proto(outputs)
        return program

    @contextmanager
    def _as_on_a_tpu(self) -> Iterator[None]:
        """torch_xla lowers some operations in another way for a TPU, and looks at this variable to know."""
        self._tracing, os.environ["PJRT_DEVICE"] = True, "TPU"
        try:
            yield
        finally:
            self._tracing, os.environ["PJRT_DEVICE"] = False, "CPU"
