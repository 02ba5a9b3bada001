"""The whole loop, augmentation on, is as fast as the bare step on a fixed batch."""

import time
from statistics import median

import pytest
import torch
from rich.console import Console
from runtimes.probe import loop_of
from torch import nn

from cifar_imbalance.terminal import LiveLine

SETTINGS = ["experiment=exp2", "dataset=digits", "dataset.validation=holdout", "model.pretrained=false"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lite0", "b0"])
def test_the_loop_reaches_95_percent_of_the_bare_step(tmp_path, model, capsys):
    loop = loop_of([*SETTINGS, f"model={model}", "augmentation=paper", "runtime=cpu"], tmp_path / "run")
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

    ratios = []
    with LiveLine(Console(quiet=True), steps=steps, done=0) as live:
        for epoch in range(6):
            bare_speed = bare()
            loop_speed = loop._train_epoch(epoch, steps, live)["images_per_second"]
            ratios.append(loop_speed / bare_speed)
    ratio = median(ratios[1:])  # the first is warm-up
    with capsys.disabled():
        print(f"\n{model}: loop / bare step {ratio:.3f} (5 rounds, {min(ratios[1:]):.3f} to {max(ratios[1:]):.3f})")
    assert ratio >= 0.95
