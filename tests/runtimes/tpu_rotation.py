"""What rotating images costs on a TPU by its compiler's estimate: by indexing, as here, and by torch.gather.

    python tests/runtimes/tpu_rotation.py OUTPUT.json        (needs the extra [preflight])

Rotations of 16 images a core, compiled alone for v5e 2x2, as torch_xla lowers them for a TPU. Nothing is run on one.
"""

import json
import os
import subprocess
import sys
from functools import partial
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
    """A file for each form and side: {(form, side): file}."""
    import torch

    from cifar_imbalance.augment import rotation
    from cifar_imbalance.configuration.fields import Runtime
    from cifar_imbalance.runtimes.xla import TracingRuntime

    runtime, found = TracingRuntime(Runtime(name="xla", devices=CORES)), {}
    for side in SIDES:
        images = runtime.place_batch(torch.zeros(CORES * OF_A_CORE, 3, side, side))
        angle = runtime.place_batch(torch.zeros(CORES * OF_A_CORE))
        rotate = runtime.compiled(partial(rotation.rotate, images, angle, angle, "constant", 0.0))
        for form, pixels_at in {"index": rotation.pixels_at, "gather": gathered}.items():
            with patch.object(rotation, "pixels_at", pixels_at):
                program = runtime.traced(rotate, list)
            found[form, side] = file = Path(folder, f"{form}_{side}.hlo")
            file.write_bytes(program)
    return found


def main(output):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = []
    with TemporaryDirectory() as folder:
        for (form, side), file in programs(folder).items():
            request = json.dumps({"program": str(file), "topology": TOPOLOGY})
            done = subprocess.run(COMPILER, input=request, capture_output=True, text=True, check=True)
            answer = json.loads(done.stdout)
            kept = {key: answer[key] for key in ("reason", "flops", "hbm_bytes", "temporary_bytes", "estimated_cycles")}
            rows.append({"form": form, "side": side, **kept})
    Path(output).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
