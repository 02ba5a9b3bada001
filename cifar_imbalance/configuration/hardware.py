"""Detection of this machine's devices and the runtime for them, without importing torch or torch_xla."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

INSTALL_XLA = "pip install -e '.[xla]'"
XLA_NAMES = ("xla", "tpu")  # the runtimes that use torch_xla


def tpu_is_attached() -> bool:
    """Whether this machine has a TPU, from its device files and PCI bus alone."""
    if os.environ.get("PJRT_DEVICE") == "TPU" or any(Path("/dev").glob("accel[0-9]*")):
        return True
    for vendor in Path("/sys/bus/pci/devices").glob("*/vendor"):
        is_google = vendor.read_text().strip() == "0x1ae0"
        if is_google and (vendor.parent / "device").read_text().strip() != "0x0042":  # 0x0042 is a network card
            return True
    return False


def xla_is_installed() -> bool:
    return importlib.util.find_spec("torch_xla") is not None


def resolved_runtime(name: str) -> str:
    """What `runtime.name` means here: `auto` and `xla` are tpu if one is attached and torch_xla is installed.

    An `auto` that is left unresolved means CUDA or the CPU, which only torch can detect.
    """
    if name in ("auto", "xla") and tpu_is_attached() and xla_is_installed():
        return "tpu"
    return name
