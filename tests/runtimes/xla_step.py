"""What a step of B0 at 32 px costs on XLA's CPU client: images/s beside native, and milliseconds by kind of operation.

    python tests/runtimes/xla_step.py OUTPUT.json [plain]

Rounds of native and of XLA alternate on the same cores. Then XLA's own profile of single steps: of every operation the
shortest of the steps, summed by kind; and the processor time that torch_xla takes to trace a step on the host. `plain`
is timm's model and torch's optimiser without the forms for XLA's CPU client.
"""

import glob
import gzip
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from statistics import median
from tempfile import TemporaryDirectory

FLAG = "--xla_cpu_enable_xprof_traceme=true"
ROUNDS, STEPS = 7, 6
KINDS = {  # by what the name of an operation contains, the first that fits
    "convolution": ("convolution",),
    "matrix product": ("dot",),
    "sum of batch norm or of a weight's gradient": ("reduce",),
    "shift, pad, patch": ("pad", "concatenate"),
    "copy, transpose": ("copy", "transpose"),
    "elementwise": ("",),
}


def prepared(name):
    from cifar_imbalance.benchmark.steps import bare_step
    from cifar_imbalance.configuration.fields import BenchmarkConfig, Model, Runtime
    from cifar_imbalance.runtimes.select import make_runtime

    config = BenchmarkConfig(steps=STEPS, model=Model(name="tf_efficientnet_b0"))
    config.model.pretrained = False
    config.runtime = Runtime(name=name, threads=len(os.sched_getaffinity(0)) if name == "cpu" else None)
    runtime = make_runtime(config.runtime)
    return runtime, bare_step(config, runtime), STEPS * config.batch_size


def native():
    _, run, _ = prepared("cpu")
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(time.perf_counter() - started, flush=True)


def milliseconds_by_kind(run, folder):
    import torch_xla.debug.profiler as profiler

    profiler.start_server(9012)
    profiler.start_trace(folder)
    run()
    profiler.stop_trace()
    with gzip.open(glob.glob(f"{folder}/plugins/profile/*/*.trace.json.gz")[0]) as file:
        events = json.load(file)["traceEvents"]
    seen = defaultdict(list)
    for event in events:
        if "hlo_op" in event.get("args", {}) and not event["name"].startswith("call"):  # a call is what it calls
            seen[event["name"]].append(event["dur"] / 1000)
    kinds = defaultdict(lambda: [0.0, 0])
    for name, times in seen.items():
        kind = next(kind for kind, words in KINDS.items() if any(word in name for word in words))
        kinds[kind][0] += min(times)
        kinds[kind][1] += 1
    return {kind: {"milliseconds": round(total, 1), "operations": count} for kind, (total, count) in kinds.items()}


def main(output, plain):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
    peer = subprocess.Popen(
        [sys.executable, __file__, "native"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    from cifar_imbalance.configuration.hardware import processor
    from cifar_imbalance.runtimes.xla import XlaRuntime

    if plain:
        XlaRuntime.prepare_optimizer = lambda *_: None
        XlaRuntime.place_model = lambda self, module: module._apply(self.place)
    runtime, run, images = prepared("xla")
    started = time.perf_counter()
    run()
    first = time.perf_counter() - started
    while peer.stdout.readline() != "ready\n":
        pass
    speeds = {"native": [], "xla": []}
    for _ in range(ROUNDS):
        peer.stdin.write("go\n")
        peer.stdin.flush()
        speeds["native"].append(images / float(peer.stdout.readline()))
        started = time.perf_counter()
        run()
        speeds["xla"].append(images / (time.perf_counter() - started))
    peer.stdin.close()
    with TemporaryDirectory() as folder:
        kinds = milliseconds_by_kind(run, folder)
    runtime.end_step = runtime.wait = lambda: None  # traces the steps without sending them
    started = time.process_time()
    run()
    traced = (time.process_time() - started) / STEPS
    ratios = [xla / other for xla, other in zip(speeds["xla"], speeds["native"], strict=True)]
    answer = {
        "forms": "plain" if plain else "for XLA's CPU client",
        "machine": f"{processor('model name')}, {len(os.sched_getaffinity(0))} cores",
        "images_per_second": {
            name: {"median": round(median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}
            for name, values in speeds.items()
        },
        "xla / native": {
            "median": round(median(ratios), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        },
        "first_round_seconds": round(first, 1),
        "milliseconds_to_trace_a_step": round(traced * 1000, 1),
        "milliseconds_by_kind": kinds,
    }
    with open(output, "w") as file:
        file.write(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))
    sys.stdout.flush()
    os._exit(0)  # not to run what was only traced


if __name__ == "__main__":
    if sys.argv[1] == "native":
        native()
    else:
        main(sys.argv[1], "plain" in sys.argv[2:])
