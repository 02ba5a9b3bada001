"""This machine's devices, processor and free cores, and the runtime for them, without importing torch or torch_xla."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cifar_imbalance.configuration.installed import installing

INSTALL_XLA = installing("xla")
TPU_LIBRARY = "'torch_xla[tpu]==2.9.*'"
PCI_DEVICES = Path("/sys/bus/pci/devices")
GOOGLE = "0x1ae0"  # PCI vendor
# PCI devices, as JAX and torch_xla list them (jax/_src/hardware_utils.py, torch_xla/_internal/tpu.py). Not 0x0042, a
# network card, and 0x001f, the local NVMe drive of Google Cloud machines, also of those with GPUs.
TPU_GENERATIONS = {
    "0x0027": "v2 or v3",
    "0x0056": "of no public name",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "7x",
}
XLA_NAMES = ("xla", "tpu")  # the runtimes that use torch_xla


def tpu_is_attached() -> bool:
    """Whether this machine has a TPU: one on its PCI bus, or one that the environment promises torch_xla."""
    return os.environ.get("PJRT_DEVICE") == "TPU" or bool(tpu_chips(PCI_DEVICES))


def tpu_chips(devices: Path) -> list[str]:
    """The generation of each TPU chip among the PCI `devices` of sysfs; Google's other devices are none."""
    found = []
    for vendor in sorted(devices.glob("*/vendor")):
        try:
            ids = [(vendor.parent / name).read_text().strip() for name in ("vendor", "device")]
        except OSError:  # removed meanwhile, or not to be read in this container
            continue
        if ids[0] == GOOGLE and ids[1] in TPU_GENERATIONS:
            found.append(TPU_GENERATIONS[ids[1]])
    return found


def xla_is_installed() -> bool:
    return importlib.util.find_spec("torch_xla") is not None


def tpu_library_is_installed() -> bool:
    """Whether there is a libtpu, as a package or where the environment says that torch_xla finds it."""
    return "TPU_LIBRARY_PATH" in os.environ or importlib.util.find_spec("libtpu") is not None


def resolved_runtime(name: str) -> str:
    """What `runtime.name` means here: `auto` and `xla` are tpu if one is attached and torch_xla is installed.

    An `auto` that is left unresolved means CUDA or the CPU, which only torch can detect.
    """
    if name in ("auto", "xla") and tpu_is_attached() and xla_is_installed():
        return "tpu"
    return name


def processor(entry: str) -> str:
    """An entry of /proc/cpuinfo, such as `model name`; empty if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(entry)), "")


# ---------------------------------------------------------------- cores
def allowed_cores() -> list[int]:
    """The cores that this process may use; fewer if its control group has a quota of less CPU time (containers)."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else cores[: max(1, int(quota) // int(period))]
    except (OSError, ValueError):
        return cores


def free_cores(seconds: float = 0.3) -> int:
    """How many of the allowed cores are idle, watched for some time in which this process does nothing; at least 1."""
    cores = allowed_cores()
    if len(cores) == 1:
        return 1
    before = core_seconds(cores)
    time.sleep(seconds)
    after = core_seconds(cores)
    if before is None or after is None or after == before:
        return len(cores)
    idle, busy = after[0] - before[0], after[1] - before[1]
    return max(1, round(len(cores) * idle / (idle + busy)))


def core_seconds(cores: Sequence[int]) -> tuple[float, float] | None:
    """Seconds that these cores have been idle and busy since the machine started; None if the system does not say."""
    wanted = {f"cpu{core}" for core in cores}
    try:
        rows = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        ticks = [[int(value) for value in row[1:9]] for row in rows if row and row[0] in wanted]
    except (OSError, ValueError):
        return None
    if sys.platform == "win32" or not ticks:
        return None
    idle = sum(row[3] + row[4] for row in ticks)  # idle, and waiting for a disk
    per_second = os.sysconf("SC_CLK_TCK")
    return idle / per_second, (sum(map(sum, ticks)) - idle) / per_second
