"""What a step of five networks costs: one by one, stacked, and on a CPU in parallel processes of one thread each.

    python tests/runtimes/together.py OUTPUT.json MODEL RUNTIME [THREADS]

Images of 32 px, batches of 32. Blocks of steps of the first two are interleaved; the processes run alone, afterwards.
A row is added to those in OUTPUT.json: images/s of all five networks together, and the ratio of each to one by one.
"""

import json
import os
import platform
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

MEMBERS, BLOCK, ROUNDS, SECONDS = 5, 6, 5, 20.0
WORDS = ["experiment=quickstart", "dataset.image_size=32", "training.batch_size=32", "model.pretrained=false"]


def loops_of(words, folder):
    from probe import loop_of

    return [loop_of([*words, f"seed={seed}"], Path(folder, str(seed))) for seed in range(MEMBERS)]


def blocks(loops):
    """By name: what begins a block of steps of all networks, one by one and stacked, and what runs it."""
    from cifar_imbalance.engine.stacked_step import StackedStep

    plans = [loop.plan(0).first(BLOCK) for loop in loops]
    alone, runtime = [loop.training_step for loop in loops], loops[0].runtime
    for step in alone[1:]:
        step.share_images(alone[0])
    together = StackedStep(alone)

    def begin():
        for step, plan in zip(alone, plans, strict=True):
            step.begin_epoch(plan)
        runtime.wait()

    def begin_together():
        together.begin_epoch(plans)
        runtime.wait()

    def one_by_one():
        for step in alone:
            for position in range(BLOCK):
                step(position)
        runtime.wait()

    def stacked():
        for position in range(BLOCK):
            together(position)
        runtime.wait()

    return {"one_by_one": (begin, one_by_one), "stacked": (begin_together, stacked)}


def seconds_of(begin, run):
    begin()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def rate_alone(words):
    """Images/s of one network in this process, for some seconds."""
    from probe import loop_of

    with TemporaryDirectory() as folder:
        loop = loop_of(words, Path(folder, "run"))
        loop.training_step.begin_epoch(loop.plan(0).first(BLOCK))
        started, steps = 0.0, -BLOCK  # the first steps do not count
        while steps <= 0 or time.perf_counter() - started < SECONDS:
            loop.training_step(steps % BLOCK)
            steps += 1
            if steps == 0:
                started = time.perf_counter()
        return steps * 32 / (time.perf_counter() - started)


def main(output, model, runtime, threads=None):
    words = [*WORDS, f"model.name={model}", f"runtime={runtime}", *([f"runtime.threads={threads}"] if threads else [])]
    images, seconds = MEMBERS * BLOCK * 32, {}
    with TemporaryDirectory() as folder:
        found = blocks(loops_of(words, folder))
        first = {name: round(seconds_of(*block), 1) for name, block in found.items()}
        for _ in range(ROUNDS):
            for name, block in found.items():
                seconds.setdefault(name, []).append(seconds_of(*block))
    rates = {name: images / median(values) for name, values in seconds.items()}
    if runtime == "cpu":
        cores = len(os.sched_getaffinity(0))
        with get_context("spawn").Pool(cores) as pool:
            alone = [*WORDS, f"model.name={model}", "runtime=cpu", "runtime.threads=1"]
            rates["workers"] = sum(pool.map(rate_alone, [alone] * cores, chunksize=1))
    row = {
        "model": model,
        "runtime": runtime,
        "threads": threads and int(threads),
        "machine": platform.processor() or platform.machine(),
        "first_block_seconds": first,  # with compilation on XLA
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio_to_one_by_one": {name: round(rate / rates["one_by_one"], 3) for name, rate in rates.items()},
    }
    path = Path(output)
    rows = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*rows, row], indent=2) + "\n")
    print(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
