"""The environment of a run, environment.json: machine, versions, command."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.hardware import processor
from cifar_imbalance.runtimes.base import DeviceRuntime

PACKAGES = (
    "cifar_imbalance",
    "torch",
    "torchvision",
    "torch_xla",
    "libtpu",
    "timm",
    "torchmetrics",
    "hydra-core",
    "numpy",
)


def environment(runtime: DeviceRuntime | None) -> dict[str, Any]:
    """Versions, device, threads, git commit and command, JSON-ready; without a runtime, no device."""
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {processor('model name')}",
        **(runtime.describe() if runtime else {}),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of a clone of this project; None where the package is a folder of another repository."""
    clone = Path(__file__).resolve().parents[2]
    command = ["git", "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    top, commit = done.stdout.splitlines()
    return commit if Path(top) == clone else None
