"""What moving images costs on a TPU by its compiler's estimate: by indexing, as here, and by torch.gather.

    python tests/runtimes/tpu_moves.py OUTPUT.json        (needs the extra [preflight])

Rotations and translations of 16 images a core, compiled alone for v5e 2x2, as torch_xla lowers them for a TPU. Nothing
is run on one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

TOPOLOGY, CORES, OF_A_CORE, SIDES = "v5e:2x2", 4, 16, (32, 64, 224)
COMPILER = [sys.executable, "-m", "cifar_imbalance.preflight.compiler"]


def gathered(images, rows, columns):
    """`borders.pixels_at` by torch.gather."""
    height, width = images.shape[2:]
    places = (rows * width + columns).expand(-1, height, width).flatten(1)[:, None]
    return images.flatten(2).gather(2, places.expand(-1, 3, -1)).unflatten(2, (height, width))


def programs(folder):
    """A file for each operation, form and side: {(operation, form, side): file}."""
    import torch

    from cifar_imbalance.augment import borders, rotation
    from cifar_imbalance.configuration.fields import Runtime
    from cifar_imbalance.runtimes.xla import TracingRuntime

    runtime, found = TracingRuntime(Runtime(name="xla", devices=CORES)), {}
    count = CORES * OF_A_CORE
    for side in SIDES:
        images = runtime.place_batch(torch.zeros(count, 3, side, side))
        angle, offset = (runtime.place_batch(torch.zeros(count, dtype=kind)) for kind in (torch.float32, torch.int32))
        operations = {
            "rotate": lambda images=images, angle=angle: rotation.rotate(images, angle, angle, "constant", 0.0),
            "translate": lambda images=images, by=offset: borders.translate(images, by, by, "constant", 0.0),
        }
        for form, pixels_at in {"index": borders.pixels_at, "gather": gathered}.items():
            for name, operation in operations.items():
                with patch.object(borders, "pixels_at", pixels_at), patch.object(rotation, "pixels_at", pixels_at):
                    program = runtime.traced(runtime.compiled(operation), list)
                found[name, form, side] = file = Path(folder, f"{name}_{form}_{side}.hlo")
                file.write_bytes(program)
    return found


def main(output):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = []
    with TemporaryDirectory() as folder:
        for (name, form, side), file in programs(folder).items():
            request = json.dumps({"program": str(file), "topology": TOPOLOGY})
            done = subprocess.run(COMPILER, input=request, capture_output=True, text=True, check=True)
            answer = json.loads(done.stdout)
            kept = {key: answer[key] for key in ("reason", "flops", "hbm_bytes", "temporary_bytes", "estimated_cycles")}
            rows.append({"operation": name, "form": form, "side": side, **kept})
    Path(output).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
