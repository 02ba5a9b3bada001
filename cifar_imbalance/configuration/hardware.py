"""What is plugged into this machine, found without importing torch or torch_xla."""

from __future__ import annotations

import os
from pathlib import Path

INSTALL_XLA = "pip install -e '.[xla]'"


def tpu_is_attached() -> bool:
    """Whether this machine has a TPU, from its device files and the PCI bus alone."""
    if os.environ.get("PJRT_DEVICE") == "TPU" or any(Path("/dev").glob("accel[0-9]*")):
        return True
    for vendor in Path("/sys/bus/pci/devices").glob("*/vendor"):
        is_google = vendor.read_text().strip() == "0x1ae0"
        if is_google and (vendor.parent / "device").read_text().strip() != "0x0042":  # 0x0042 is a network card
            return True
    return False
