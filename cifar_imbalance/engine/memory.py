"""A one-line error when the device runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.runtimes.base import DeviceRuntime


@contextmanager
def out_of_memory_named(runtime: DeviceRuntime, **batch_sizes: int) -> Iterator[None]:
    """Turns an exhausted memory into TrainingFailed, which names the fields that the memory depends on."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):  # torch's error on the CPU
            raise
        fields = ", ".join(f"training.{name}={size}" for name, size in batch_sizes.items())
        raise TrainingFailed(
            f"the memory of runtime={runtime.name} is too small for {fields}; a smaller batch, model.resolution or "
            "runtime.precision=bfloat16 needs less"
        ) from error
