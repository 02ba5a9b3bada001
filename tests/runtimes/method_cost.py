"""What losses, class weights and mixing cost in a step of ResNet-32 (CIFAR-100-LT, batch 128).

    python tests/runtimes/method_cost.py OUTPUT.json FOLDER_OF_CIFAR100

A whole step varies by more than they cost. So they are timed with a network of one matrix product (images, mixing,
augmentation, loss, gradient), interleaved, and their extra milliseconds are set beside a step of ResNet-32.
"""

import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from probe import loop_of
from torch import nn

from cifar_imbalance.engine.step import training_loss

ROUNDS, REPEATS = 15, 10
PLAIN = ["experiment=ltbench/ce", "runtime=cpu", "runtime.threads=1"]
WEIGHTED = "class_weights=effective_number"
METHODS = {
    "plain": [],
    "effective_number": [WEIGHTED],
    "focal, effective_number": ["loss=focal", WEIGHTED],
    "balanced_softmax": ["loss=balanced_softmax"],
    "ldam, effective_number": ["loss=ldam", "model.cosine_scale=30", WEIGHTED],
    "gml": ["loss=gml"],
    "ldam, effective_number, mixup": ["loss=ldam", "model.cosine_scale=30", WEIGHTED, "mixing=mixup"],
    "ldam, effective_number, remix": ["loss=ldam", "model.cosine_scale=30", WEIGHTED, "mixing=remix"],
    "ldam, effective_number, cmo": ["loss=ldam", "model.cosine_scale=30", WEIGHTED, "mixing=cmo"],
}


def without_network(loop):
    """A step with the images, the draws and the loss of the loop's first step, and a network of one product."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 100))
    step, config = loop.training_step, loop.config
    network = replace(loop.network, module=module)
    call = partial(training_loss, network=network, policy=loop.policy, loss=config.loss, mixing=config.mixing.name)
    parameters = dict(module.named_parameters())

    def run():
        for k in range(REPEATS):
            call(parameters, {}, *step.inputs(k)[2:])[0].backward()

    return run


def main(output, root):
    with TemporaryDirectory() as folder:
        loops = {
            name: loop_of([*PLAIN, *words, f"dataset.root={root}"], Path(folder, str(k)))
            for k, (name, words) in enumerate(METHODS.items())
        }
        for loop in loops.values():
            loop.training_step.begin_epoch(loop.plan(0).first(REPEATS))
        parts = {name: without_network(loop) for name, loop in loops.items()}
        seconds = {name: [] for name in ("step", *parts)}
        for turn in range(ROUNDS + 1):
            whole = lambda: loops["plain"].training_step(turn % REPEATS).item()  # noqa: B023, E731 (called at once)
            for name, run in {"step": whole, **parts}.items():
                started = time.perf_counter()
                run()
                if turn:  # the first one warms up
                    seconds[name].append((time.perf_counter() - started) / (1 if name == "step" else REPEATS))
    milliseconds = {name: 1000 * median(values) for name, values in seconds.items()}
    step, plain = milliseconds.pop("step"), milliseconds["plain"]
    rows = {
        name: {"milliseconds": round(value, 2), "extra_percent_of_a_step": round(100 * (value - plain) / step, 2)}
        for name, value in milliseconds.items()
    }
    described = {**next(iter(loops.values())).runtime.describe(), "torch": torch.__version__}
    print(f"step of ResNet-32: {step:.0f} ms", *(f"{name:30} {row}" for name, row in rows.items()), sep="\n")
    answer = {"device": described, "rounds": ROUNDS, "step_milliseconds": round(step, 1), "without_network": rows}
    Path(output).write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
