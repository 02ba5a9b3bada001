"""The seven promises of docs/architecture.md, each with a test that fails if it is broken."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_imbalance import atomic
from cifar_imbalance.engine.step import EvaluationStep, TrainingStep
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.write import write_report

ROOT = Path(__file__).resolve().parents[1]
RECORDED = Path(__file__).parent / "assets" / "loss_curve.json"
# Written when the run ends; the rest of summary.json is a function of the saved logits.
ABOUT_THE_RUN = {
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


# ---------------------------------------------------------------- 4. logits are the evidence
def test_4_every_result_is_a_function_of_the_saved_logits(tiny_run, tmp_path):
    summary = summary_of(tiny_run)
    found = predictions_of(tiny_run)
    assert summarize(found) == {name: value for name, value in summary.items() if name not in ABOUT_THE_RUN}
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


def test_5_all_files_are_written_through_atomic():
    """Except the log, which is appended to, and the cache, whose folders are renamed into place."""
    writing = ("write_text(", "write_bytes(", 'open("w', "torch.save(", "savefig(", "np.save(", "np.savez(")
    allowed = {"atomic.py", "data/cache.py"}
    offending = []
    for file in sorted((ROOT / "cifar_imbalance").rglob("*.py")):
        name = file.relative_to(ROOT / "cifar_imbalance").as_posix()
        for line in file.read_text().splitlines():
            if any(word in line for word in writing) and "atomic." not in line and name not in allowed:
                offending.append((name, line.strip()))
    buffered = {"torch.save({**state,", "figure.savefig(buffer,", "lambda file: np.savez(file,"}
    assert [found for found in offending if not any(word in found[1] for word in buffered)] == []


# ---------------------------------------------------------------- 6. one-line errors
@pytest.mark.parametrize("word", ["no_such_field=1", "model=no_such_model", "training.epochs=none", "resume=nowhere"])
def test_6_a_mistake_gives_a_one_line_error_and_exit_code_2_and_leaves_no_files(tmp_path, typed, word):
    answer = typed(tmp_path, "train", word)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1 and word.partition("=")[0] in answer.err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- 7. the test images are evaluated once
@pytest.fixture
def evaluations(monkeypatch):
    """The number of images of each evaluation, in order."""
    counted = []
    call = EvaluationStep.__call__

    def counting(step, module):
        counted.append(len(step._images))
        return call(step, module)

    monkeypatch.setattr(EvaluationStep, "__call__", counting)
    return counted


VALIDATION, TEST = 130, 535  # digits


def test_7_the_test_images_are_evaluated_once_and_at_the_end(evaluations, tmp_path, typed, tiny_words):
    assert typed(tmp_path, "train", *tiny_words, "hydra.run.dir=run").code == 0
    assert evaluations == [VALIDATION, VALIDATION, TEST, VALIDATION]  # two epochs; then the chosen one on both
    assert summary_of(tmp_path / "run")["test_set_use"] == "once, at the end"


def test_7_an_experiment_that_evaluates_them_after_every_epoch_records_that(evaluations, tmp_path, typed, tiny_words):
    words = [*tiny_words, "dataset.validation=test", "checkpoint.choose=last", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    assert evaluations == [TEST, TEST, TEST]
    assert summary_of(tmp_path / "run")["test_set_use"] == "after every epoch (dataset.validation=test)"
