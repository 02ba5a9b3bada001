"""How far XLA is from native PyTorch on a real model, in numbers.

    python tests/runtimes/compare.py OUTPUT.json experiment=NAME OVERRIDES...

Every measurement runs probe.py in a separate process: whether batches are equal; whether loss and gradients from each
of native's first states are equal, and how close each is to float64; how far ten free steps drift, and how far native
itself drifts between one thread and two.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

PROBE = Path(__file__).with_name("probe.py")
EXACT = "augmentation=[flip,shift,cutout]"


def relative(ours, theirs):
    """Norm of the difference of two sets of gradients over the norm of the first."""
    difference = sum((ours[name] - theirs[name]).double().square().sum() for name in ours)
    return (difference / sum(tensor.double().square().sum() for tensor in ours.values())).sqrt().item()


def drift(ours, theirs):
    return [abs(a - b) / abs(a) for a, b in zip(ours, theirs, strict=True)]


def differences(ours, theirs):
    """The relative difference of the gradients at each state."""
    return list(map(relative, ours["gradients"], theirs["gradients"]))


def compare(overrides, folder):
    asked = 0

    def ask(question, *settings):
        nonlocal asked
        asked += 1
        answer = folder / f"{asked}.pt"
        command = [sys.executable, str(PROBE), question, str(answer), EXACT, *overrides, *settings]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return torch.load(answer, weights_only=True)

    native = ask("states", "runtime=cpu", "runtime.threads=2")
    states = folder / "1.pt"
    one_thread = ask("losses", "runtime=cpu", "runtime.threads=1")
    forced = ask("forced", "runtime=xla", f"+states={states}")
    forced_one_thread = ask("forced", "runtime=cpu", "runtime.threads=1", f"+states={states}")
    exact = ask("exact", "runtime=cpu", f"+states={states}")
    xla = ask("losses", "runtime=xla", "runtime.devices=1")
    xla_2 = ask("losses", "runtime=xla", "runtime.devices=2")
    batches = ask("batches", "runtime=cpu")
    return {
        "overrides": [EXACT, *overrides],
        "batches_of_the_first_epoch": len(batches),
        "batches_equal": batches == ask("batches", "runtime=xla", "runtime.devices=2"),
        "forced_loss_relative_difference_xla_from_native": drift(native["losses"], forced["losses"]),
        "forced_gradient_relative_difference": {
            "xla_from_native": differences(native, forced),
            "native_1_from_2_threads": differences(native, forced_one_thread),
            "native_from_float64": differences(exact, native),
            "xla_from_float64": differences(exact, forced),
        },
        "free_loss_relative_drift_xla_from_native": drift(native["losses"], xla),
        "free_loss_relative_drift_native_1_from_2_threads": drift(native["losses"], one_thread),
        "free_loss_largest_relative_difference_xla_1_and_2_devices": max(drift(xla, xla_2)),
        "native_losses": native["losses"],
    }


if __name__ == "__main__":
    output, *overrides = sys.argv[1:]
    with TemporaryDirectory() as folder:
        results = compare(overrides, Path(folder))
    Path(output).write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
