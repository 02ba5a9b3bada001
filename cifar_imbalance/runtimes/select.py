"""From `runtime.name` to a runtime."""

from __future__ import annotations

import logging

import torch

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.configuration.hardware import INSTALL_XLA, XLA_NAMES, resolved_runtime, tpu_is_attached
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runtimes.base import DeviceRuntime

log = logging.getLogger(__name__)


def make_runtime(config: Runtime, *, deterministic: bool = False, on_pods: bool = False) -> DeviceRuntime:
    """The runtime of `config.name`; `auto` takes a TPU if there is one, else CUDA, else the CPU.

    Raises UsageError if the device is not available, or if this is one of several processes and not meant for it.
    """
    name = resolved_runtime(config.name)
    if name in XLA_NAMES:
        from cifar_imbalance.runtimes.xla import XlaRuntime

        runtime = XlaRuntime(name, config)
        if runtime.processes > 1 and not on_pods:
            raise UsageError(
                f"runtime={name}: on a pod, {runtime.processes} hosts here, only train.py runs, and trains one model: "
                "no ensemble, sweep or search"
            )
        return runtime
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if tpu_is_attached():
            log.info("runtime=auto: a TPU is attached, but torch_xla is not installed; %s installs it", INSTALL_XLA)
    from cifar_imbalance.runtimes.native import NativeRuntime

    return NativeRuntime(name, config, deterministic=deterministic)
