"""The seven promises of docs/architecture.md, each with a test that fails if it is broken."""

import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import Plots
from cifar_imbalance.engine import loop
from cifar_imbalance.engine.epoch import plan_epoch
from cifar_imbalance.engine.step import Network, TrainingStep
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.write import write_report

ROOT = Path(__file__).resolve().parents[1]
RECORDED = Path(__file__).parent / "assets" / "loss_curve.json"
# Written when the run ends; the rest of summary.json is a function of the saved logits.
ABOUT_THE_RUN = {
    "checksum",
    "predictions_sha256",
    "history_sha256",
    "uncertainty",
    "intervals",
    "most_confused",
    "experiment",
    "seed",
    "dataset",
    "model",
    "weights",
    "start",
    "split",
    "epochs",
    "train_images",
    "chosen_epoch",
    "chosen_by",
    "test_set_use",
}


def predictions_of(folder, split="test"):
    return Predictions.load(folder / "predictions" / f"{split}.npz")


def summary_of(folder):
    return json.loads((folder / "report" / "summary.json").read_text())


# ---------------------------------------------------------------- 1. the configuration is the experiment
def test_1_a_run_is_reproduced_from_its_folder_alone(tiny_run, tmp_path, typed):
    answer = typed(tmp_path, "train", f"repeat={tiny_run}", "hydra.run.dir=again")
    assert answer.code == 0, answer.err
    again = tmp_path / "again"
    assert (again / "config.yaml").read_text() == (tiny_run / "config.yaml").read_text()
    assert np.array_equal(predictions_of(again).logits, predictions_of(tiny_run).logits)
    assert summary_of(again) == summary_of(tiny_run)


def test_1_the_losses_of_a_small_run_equal_the_recorded_ones(tmp_path, typed):
    """Detects unintended changes; after an intended one regenerate the file (the command is in it)."""
    recorded = json.loads(RECORDED.read_text())
    answer = typed(tmp_path, "train", *recorded["overrides"], "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for name, values in recorded["losses"].items():
        # The tolerance is for rounding, which differs between processors.
        assert [line[name] for line in lines] == pytest.approx(values, rel=recorded["tolerance"]), name


# ---------------------------------------------------------------- 2. randomness has a key
def test_2_batches_and_weights_depend_on_the_seed_and_not_on_global_generators(tiny_run, tmp_path, typed, tiny_words):
    for generator in (np.random.seed, torch.manual_seed):
        generator(12345)
    answer = typed(tmp_path, "train", *tiny_words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert np.array_equal(predictions_of(tmp_path / "run").logits, predictions_of(tiny_run).logits)


def test_2_order_augmentation_and_noise_depend_on_seed_and_epoch(tmp_path, typed, tiny_words, monkeypatch):
    plans = []

    def kept(*arguments, **named):
        plans.append(plan_epoch(*arguments, **named))
        return plans[-1]

    monkeypatch.setattr(loop, "plan_epoch", kept)
    for seed in (0, 1):
        answer = typed(tmp_path, "train", *tiny_words, f"seed={seed}", f"hydra.run.dir={seed}")
        assert answer.code == 0, answer.err
    assert len(plans) == 4
    for one, other in combinations(plans, 2):
        assert not np.array_equal(one.indices, other.indices)
        assert not np.array_equal(one.draws["shift.rows"], other.draws["shift.rows"])
        assert set(one.noise_seeds).isdisjoint(other.noise_seeds)


# ---------------------------------------------------------------- 3. a step is one static graph
def test_3_every_step_calls_one_function_on_tensors_of_the_same_shapes(tmp_path, typed, tiny_words, monkeypatch):
    """The rates, weights and draws of an epoch are data: the function that is compiled or traced never changes."""
    seen = set()
    begin = TrainingStep.begin_epoch

    def watched(step, plan):
        function = step._loss

        def call(*arguments):
            flat = torch.utils._pytree.tree_leaves(arguments)
            assert all(isinstance(value, torch.Tensor) for value in flat)
            seen.add((id(function), *((tuple(value.shape), value.dtype) for value in flat)))
            return function(*arguments)

        begin(step, plan)
        step._loss = call if not getattr(step, "watched", False) else step._loss
        step.watched = True

    monkeypatch.setattr(TrainingStep, "begin_epoch", watched)
    words = ["sampler=class_balanced", "class_weights=effective_number", "loss=focal", "augmentation=paper"]
    answer = typed(tmp_path, "train", *tiny_words, *words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert len(seen) == 1


class NoReading(TorchDispatchMode):
    """Fails where a value is read from the device: by item, float, bool, a branch on data or a print."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a step reads the device"
        return func(*args, **(kwargs or {}))


def test_3_no_step_reads_the_device(tmp_path, typed, tiny_words, monkeypatch):
    call = TrainingStep.__call__

    def watched(step, position):
        with NoReading():
            return call(step, position)

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    words = ["training.clip_norm=1", "training.ema_decay=0.9", "loss=focal", "augmentation=paper", "hydra.run.dir=run"]
    answer = typed(tmp_path, "train", *tiny_words, *words)
    assert answer.code == 0, answer.err


# ---------------------------------------------------------------- 4. logits are the evidence
def test_4_every_result_is_a_function_of_the_saved_logits(tiny_run, tmp_path):
    summary = summary_of(tiny_run)
    found = predictions_of(tiny_run)
    assert summarize(found) == {name: value for name, value in summary.items() if name not in ABOUT_THE_RUN}
    canvas.use(Plots(pdf=False))  # as of the tiny run
    write_report(tmp_path, found, [], chosen_epoch=None, details={})
    for name in ("classification_report.txt", "classification_report.csv", "per_class.png", "confusion.png"):
        assert (tmp_path / name).read_bytes() == (tiny_run / "report" / name).read_bytes(), name


# ---------------------------------------------------------------- 5. atomic writes
def test_5_a_failed_write_keeps_the_old_file(tmp_path):
    file = tmp_path / "last.pt"
    atomic.write_text(file, "old")

    def half(stream):
        stream.write(b"new, but not al")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        atomic.write(file, half)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


WRITES = """
import os, sys

written = set()

def opened(event, args):
    if event == "open" and isinstance(args[0], str | bytes) and args[2] & (os.O_WRONLY | os.O_RDWR):
        written.add(os.path.abspath(os.fsdecode(args[0])))

sys.addaudithook(opened)
sys.argv[0] = "train.py"
import torch

def no_path(value, file, *a, save=torch.save, **k):  # it opens files without Python's knowledge
    assert not isinstance(file, str | os.PathLike), "torch.save was given a path"
    return save(value, file, *a, **k)

torch.save = no_path
from cifar_imbalance.command_line import train

train()
print(*sorted(path for path in written if path.startswith(os.path.abspath("run") + os.sep)), sep="\\n", file=sys.stderr)
"""


def test_5_every_file_of_a_run_is_written_under_a_temporary_name(tmp_path, tiny_words):
    """Apart from the log, which grows."""
    command = [sys.executable, "-c", WRITES, *tiny_words, "hydra.run.dir=run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    written = {Path(line).name for line in done.stderr.splitlines()}
    assert len(written) > 15
    assert {name for name in written if not (name.startswith(".") and name.endswith(".part"))} == {"train.log"}


# ---------------------------------------------------------------- 6. one-line errors
@pytest.mark.parametrize("word", ["no_such_field=1", "model=no_such_model", "training.epochs=none", "resume=nowhere"])
def test_6_a_mistake_gives_a_one_line_error_and_exit_code_2_and_leaves_no_files(tmp_path, typed, word):
    answer = typed(tmp_path, "train", word)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1 and word.partition("=")[0] in answer.err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- 7. the test images are evaluated once
@pytest.fixture
def white_test_images(tmp_path):
    """Two classes of 20 dark training images and 6 white test images each, and the options that name them."""
    for split, grey, count in (("train", 0, 20), ("test", 255, 6)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                colour = (grey, grey, abs(grey - number))  # no two images alike
                Image.new("RGB", (16, 16), colour).save(tmp_path / "images" / split / name / f"{number}.png")
    data = ["dataset=image_folder", "dataset.root=images", "dataset.cache_dir=cache", "dataset.imbalance.profile=none"]
    return [*data, "augmentation=none", "training.eval_batch_size=12", "hydra.run.dir=run"]


@pytest.fixture
def white_seen(monkeypatch):
    """The number of white images in each batch that the network is given."""
    counted = []
    logits = Network.logits

    def counting(network, parameters, buffers, images, seed=None):
        counted.append(int((images[:, 0].amin(dim=(1, 2)) == 255).sum()))
        return logits(network, parameters, buffers, images, seed)

    monkeypatch.setattr(Network, "logits", counting)
    return counted


def test_7_the_network_sees_the_test_images_once_and_at_the_end(
    white_test_images, white_seen, tmp_path, typed, tiny_words
):
    words = [word for word in tiny_words if not word.startswith("training.batch_size")]
    answer = typed(tmp_path, "train", *words, "training.batch_size=4", *white_test_images)
    assert answer.code == 0, answer.err
    assert summary_of(tmp_path / "run")["test_set_use"] == "once, at the end"
    assert [count for count in white_seen if count] == [12]
    assert white_seen[-2:] == [12, 0]  # after it only the reported epoch's validation images


def test_7_an_experiment_that_evaluates_them_after_every_epoch_records_that(
    white_test_images, white_seen, tmp_path, typed, tiny_words
):
    words = [word for word in tiny_words if not word.startswith("training.batch_size")]
    answer = typed(tmp_path, "train", *words, "training.batch_size=4", "dataset.validation=test", *white_test_images)
    assert answer.code == 0, answer.err
    assert [count for count in white_seen if count] == [12] * 3  # two epochs and the end
    assert summary_of(tmp_path / "run")["test_set_use"] == "after every epoch (dataset.validation=test)"
