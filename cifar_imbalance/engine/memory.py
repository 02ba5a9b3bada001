"""A one-line error when the device runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.runtimes.base import DeviceRuntime

# Of torch on the CPU, of XLA when a program runs, of the TPU's compiler.
EXHAUSTED = ("can't allocate memory", "RESOURCE_EXHAUSTED", "Ran out of memory")
# What needs less, of what the user of each program can change.
OF_TRAINING = "a smaller batch, model.resolution or runtime.precision=bfloat16"
OF_EVALUATION = "a smaller batch or runtime.precision=bfloat16"
OF_PREDICTION = "a smaller batch, fewer images at a time or runtime.precision=bfloat16"


@contextmanager
def out_of_memory_named(runtime: DeviceRuntime, fields: Mapping[str, object], what_needs_less: str) -> Iterator[None]:
    """Turns an exhausted memory into TrainingFailed, which names the `fields` that the memory depends on, by value."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and not any(words in str(error) for words in EXHAUSTED):
            raise
        listed = ", ".join(f"{name}={value}" for name, value in fields.items())
        raise TrainingFailed(
            f"the memory of runtime={runtime.name} is too small for {listed}; {what_needs_less} needs less"
        ) from error
