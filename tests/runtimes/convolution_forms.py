"""Times of the forms for small maps against the plain convolution, forward and backward; needs idle cores.

    python convolution_forms.py OUTPUT.json

Both forms are timed alternately on every map, medians in milliseconds. `taken` is whether the small-map
form is the one that this processor uses.
"""

import json
import sys
import time
from itertools import product
from statistics import median

import torch
from torch.nn.functional import conv2d, linear

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.runtimes import convolutions
from cifar_imbalance.runtimes.processors import this_processor
from cifar_imbalance.runtimes.select import make_runtime

ROUNDS, REPEATS = 7, 4
CHANNELS = {1: 672, 2: 480, 3: 480, 4: 240, 7: 240, 8: 144, 14: 96, 16: 96, 28: 48, 32: 32}  # of B0, by the map's side


def pointwise_forms(channels):
    weight = torch.randn(channels // 4, channels, 1, 1, requires_grad=True)
    return weight, {
        "plain": lambda images: conv2d(images, weight),
        "form": lambda images: linear(images.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2),
    }


def depthwise_forms(channels, kernel):
    weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
    side = kernel // 2
    return weight, {
        "plain": lambda images: conv2d(images, weight, None, 1, side, 1, channels),
        "form": lambda images: convolutions._SmallMapDepthwise.apply(images, weight, (1, 1), (side,) * 4),
    }


def milliseconds(form, images, weight):
    started = time.perf_counter()
    for _ in range(REPEATS):
        form(images).sum().backward()
        images.grad = weight.grad = None
    return (time.perf_counter() - started) / REPEATS * 1000


def main(output):
    described = make_runtime(Runtime(name="cpu"), deterministic=False).describe()
    rows = []
    for kernel, batch, (side, channels) in product((1, 3, 5), (32, 512), CHANNELS.items()):
        if batch == 512 and side > 16:
            continue  # gigabytes
        images = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
        weight, forms = pointwise_forms(channels) if kernel == 1 else depthwise_forms(channels, kernel)
        seen = {name: [] for name in forms}
        for _ in range(ROUNDS + 1):
            for name, form in forms.items():
                seen[name].append(milliseconds(form, images, weight))
        times = {name: round(median(values[1:]), 3) for name, values in seen.items()}
        taken = side**2 <= this_processor().product_map if kernel == 1 else side < kernel
        case = {"kernel": kernel, "side": side, "channels": channels, "batch": batch, "taken": taken}
        rows.append({**case, **times, "ratio": round(times["plain"] / times["form"], 2)})
        print(rows[-1], flush=True)
    with open(output, "w") as file:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        file.write(f'{{"device": {json.dumps(described)},\n "milliseconds": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main(sys.argv[1])
