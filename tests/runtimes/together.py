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

MEMBERS, BLOCK, ROUNDS, SECONDS = 5, 3, 5, 20.0
WORDS = ["experiment=quickstart", "dataset.image_size=32", "training.batch_size=32", "model.pretrained=false"]


def loops_of(words, folder):
    from probe import loop_of

    return [loop_of([*words, f"seed={seed}"], Path(folder, str(seed))) for seed in range(MEMBERS)]


def blocks(loops):
    """A block of steps of all networks, one by one and stacked."""
    from cifar_imbalance.engine.stacked_step import StackedStep

    plans = [loop.plan(0).first(BLOCK) for loop in loops]
    alone, runtime = [loop.training_step for loop in loops], loops[0].runtime
    together = StackedStep(alone)
    for step in alone[1:]:
        step.share_images(alone[0])
    together.begin_epoch(plans)

    def one_by_one():
        for step in alone:
            for position in range(BLOCK):
                step(position)
        runtime.wait()

    def stacked():
        for position in range(BLOCK):
            together(position)
        runtime.wait()

    return {"one_by_one": one_by_one, "stacked": stacked}


def rate_alone(words):
    """Images/s of one network in this process, for some seconds."""
    from probe import loop_of

    with TemporaryDirectory() as folder:
        loop = loop_of(words, Path(folder, "run"))
        loop.training_step.begin_epoch(loop.plan(0).first(BLOCK))
        for position in range(BLOCK):
            loop.training_step(position)
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < SECONDS:
            loop.training_step(steps % BLOCK)
            steps += 1
        return steps * 32 / (time.perf_counter() - started)


def main(output, model, runtime, threads=None):
    words = [*WORDS, f"model.name={model}", f"runtime={runtime}", *([f"runtime.threads={threads}"] if threads else [])]
    images, seconds = MEMBERS * BLOCK * 32, {}
    with TemporaryDirectory() as folder:
        found = blocks(loops_of(words, folder))
        first = {}
        for name, run in found.items():
            started = time.perf_counter()
            run()
            first[name] = round(time.perf_counter() - started, 1)
        for _ in range(ROUNDS):
            for name, run in found.items():
                started = time.perf_counter()
                run()
                seconds.setdefault(name, []).append(time.perf_counter() - started)
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
