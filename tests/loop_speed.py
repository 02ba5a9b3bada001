"""Images per second of the whole loop, augmentation on, over those of the bare step on a fixed batch.

    python tests/loop_speed.py lite0 b0

Interleaved rounds, the first one dropped. A script and not a test: under the tests' type checks every step is slower.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from runtimes.probe import loop_of
from torch import nn

from cifar_imbalance.terminal import LiveLine

SETTINGS = ["experiment=exp2", "dataset=digits", "dataset.validation=holdout", "model.pretrained=false"]
ROUNDS = 6


def ratios(model, folder):
    loop = loop_of([*SETTINGS, f"model={model}", "augmentation=paper", "runtime=cpu"], folder)
    batch, steps = loop.config.training.batch_size, len(loop.train.labels) // loop.config.training.batch_size
    module = loop.network.module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=torch.tensor(0.001), fused=True)
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def bare():
        started = time.perf_counter()
        for _ in range(steps):
            loss = nn.functional.cross_entropy(module(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return steps * batch / (time.perf_counter() - started)

    with LiveLine(Console(quiet=True), steps=steps, done=0) as live:
        speeds = [(bare(), loop._train_epoch(epoch, steps, live)["images_per_second"]) for epoch in range(ROUNDS)]
    return [whole / step for step, whole in speeds[1:]]


if __name__ == "__main__":
    for model in sys.argv[1:]:
        with TemporaryDirectory() as folder:
            seen = ratios(model, Path(folder) / "run")
        print(f"{model}: loop / bare step {median(seen):.3f} ({len(seen)} rounds, {min(seen):.3f} to {max(seen):.3f})")
