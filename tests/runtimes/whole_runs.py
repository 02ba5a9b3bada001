"""Whole runs on XLA, one after another in one process, from images to the report, each watched.

    python whole_runs.py ANSWER_FILE < RUNS

RUNS is JSON: the overrides of train.py of each run by its name; {NAME} in them is the folder of an earlier run, and
teacher=random one whose logits are. The answer is JSON, by the same names: the graphs compiled in training, in
evaluation and elsewhere; aten operators that XLA left to the CPU; transfers to and from the device in each epoch; the
shardings that each kind of tensor had after the epochs; losses and test logits.

Each run has a batch size or image size of its own: a graph that an earlier run compiled would not be compiled again.
"""

import json
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import small_network  # noqa: F401 (timm knows it then)
from probe import config_of

from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.engine.experiment import run_experiment
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.step import EvaluationStep
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.teacher import logits_sha256
from cifar_imbalance.runtimes.xla import XlaRuntime
from cifar_imbalance.terminal import QuietTerminal

METRICS = {"compiled": "CompileTime", "sent": "TransferToDeviceTime", "read": "TransferFromDeviceTime"}


class Watch:
    """What happens on the device during one run."""

    def __init__(self):
        from torch_xla import _XLAC
        from torch_xla.debug import metrics

        self._metrics, self._sharding_of = metrics, _XLAC._get_xla_sharding_spec
        self.graphs, self.fallbacks, self.epochs = Counter(), set(), []
        self.shardings = defaultdict(set)
        self.in_training = 0  # batches sent in training

    def counted(self):
        counters = Counter({name: self._metrics.counter_value(name) for name in self._metrics.counter_names()})
        return counters + Counter({name: (self._metrics.metric_data(m) or (0,))[0] for name, m in METRICS.items()})

    def within(self, kind, call):
        """`call` as a method that is watched as part of training or evaluation."""

        def watched(owner, *arguments):
            before = self.counted()
            self._in = kind
            found = call(owner, *arguments)
            grown = self.counted() - before
            self.graphs[kind] += grown["compiled"]
            self.fallbacks |= {name for name in grown if name.startswith("aten::")}
            if kind == "training":
                self.epochs.append({"sent": grown["sent"], "read": grown["read"]})
                self.steps = len(arguments[0])
                for name, tensor in tensors_of(owner):
                    self.shardings[name].add(self._sharding_of(tensor))
            return found

        return watched

    def batches(self, place_batch):
        def watched(runtime, *arguments):
            placed = place_batch(runtime, *arguments)
            self.in_training += self._in == "training"
            self.shardings["batch"].add(self._sharding_of(placed))
            return placed

        return watched


def tensors_of(loop):
    """Every tensor that lives on the device between the steps, by its kind."""
    step = loop.training_step
    yield from {f"plan.{name}": tensor for name, tensor in step._rows.placed.items()}.items()
    yield from {"images": step.images, "labels": step.labels, "records": step.records}.items()
    yield from {f"classes.{name}": tensor for name, tensor in step._classes.items()}.items()
    for module in (loop.network.module, loop.reported):
        yield from (("weights", tensor) for tensor in module.state_dict(keep_vars=True).values())
    yield from (("optimizer", tensor) for state in loop.optimizer.state.values() for tensor in state.values())


def random_teacher(config, folder):
    """`config` with a teacher that has random logits of the training images."""
    train = load_experiment_data(config.dataset).train
    logits = np.random.default_rng(0).normal(size=(len(train.labels), len(train.class_names))).astype(np.float32)
    file = RunFolder(folder).predictions("train")
    file.parent.mkdir(parents=True)
    Predictions(logits, train.labels, train.indices, train.hashes, train.class_names).save(file)
    return replace(config, teacher=str(folder), teacher_sha256=logits_sha256(folder, config.distillation.trust))


def run(words, folder):
    """The folder of the run and what was seen of it."""
    watch = Watch()
    config, before = config_of(words), watch.counted()
    if config.teacher == "random":
        config = random_teacher(config, folder.with_name(f"{folder.name}_teacher"))
    with (
        patch.object(Loop, "train_epoch", watch.within("training", Loop.train_epoch)),
        patch.object(EvaluationStep, "__call__", watch.within("evaluation", EvaluationStep.__call__)),
        patch.object(XlaRuntime, "place_batch", watch.batches(XlaRuntime.place_batch)),
    ):
        done = RunFolder(run_experiment(config, folder, words, QuietTerminal()))
    total = (watch.counted() - before)["compiled"]
    history = done.read_history()
    return done.path, {
        "graphs": {**watch.graphs, "elsewhere": total - sum(watch.graphs.values())},
        "fallbacks": sorted(watch.fallbacks),
        "epochs": watch.epochs,
        "steps": watch.steps,
        "host_images": watch.in_training // (watch.steps * len(watch.epochs)),  # tensors of them in each step
        "shardings": {name: sorted(map(str, found)) for name, found in watch.shardings.items()},
        "losses": [line["train_loss"] for line in history],
        "logits": Predictions.load(done.predictions("test")).logits.tolist(),
    }


def main(answer):
    folders, found = {}, {}
    with TemporaryDirectory() as temporary:
        for number, (name, words) in enumerate(json.load(sys.stdin).items()):
            batch, side = 120 + 8 * (number % 16), 8 + number // 16
            sizes = [f"training.batch_size={batch}", f"training.eval_batch_size={batch}", f"dataset.image_size={side}"]
            words = [word.format(**folders) for word in [*sizes, *words]]
            folders[name], found[name] = run(words, Path(temporary) / str(number))
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
