"""A run folder contains the complete record of a run, including how its epoch was chosen."""

import csv
import json

import numpy as np
import pytest
import torch

from cifar_imbalance.configuration.fields import Imbalance
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.experiment import run_experiment
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.step import EvaluationStep
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.evidence.metrics import EPOCH_METRICS, epoch_metrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder

FILES = {
    "config.yaml",
    "overrides.yaml",
    "environment.json",
    "data.json",
    "train_images.csv",
    "model.txt",
    "metrics.jsonl",
    "recalls.csv",
    "train.log",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
    "predictions/test.npz",
    "predictions/validation.npz",
    "report/classification_report.txt",
    "report/classification_report.csv",
    "report/errors.csv",
    "report/summary.json",
    "report/confusion.png",
    "report/gallery.png",
    "report/per_class.png",
    "report/report.html",
    "report/curves.png",
    "report/learning_rate.png",
    "report/recall_by_epoch.png",
}


def summary_of(folder):
    return json.loads((folder / "report" / "summary.json").read_text())


def history_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_folder_has_exactly_the_expected_files(tiny, tmp_path):
    run_experiment(tiny(), tmp_path / "run", [])
    files = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert files == FILES


def test_every_epoch_has_a_line_with_macro_f1_and_worst_recall(tiny, tmp_path):
    run_experiment(tiny(), tmp_path / "run", [])
    history = history_of(tmp_path / "run")
    assert [line["epoch"] for line in history] == [1, 2]
    for line in history:
        assert 0 <= line["validation_worst_recall"] <= line["validation_macro_f1"] <= 1
        assert line["images_per_second"] > 0


def test_the_reported_epoch_is_the_best_by_the_monitor(tiny, tmp_path):
    run_experiment(tiny(training={"epochs": 4}, checkpoint={"monitor": "loss"}), tmp_path / "run", [])
    losses = [line["validation_loss"] for line in history_of(tmp_path / "run")]
    assert summary_of(tmp_path / "run")["chosen_epoch"] == 1 + int(np.argmin(losses))
    assert summary_of(tmp_path / "run")["chosen_by"] == "the best epoch by loss of the validation images"
    assert checkpoint.load(tmp_path / "run" / "checkpoints" / "best.pt")["epoch"] == 1 + int(np.argmin(losses))


def test_without_validation_the_last_epoch_is_reported_and_the_test_images_are_used_once(tiny, tmp_path):
    run_experiment(tiny(dataset={"validation": "none"}), tmp_path / "run", [])
    summary = summary_of(tmp_path / "run")
    assert summary["chosen_epoch"] == 2
    assert summary["chosen_by"] == "the last epoch: there are no validation images"
    assert summary["test_set_use"] == "once, at the end"
    assert not any({"validation_loss", "test_loss"} & line.keys() for line in history_of(tmp_path / "run"))
    assert not (tmp_path / "run" / "recalls.csv").exists()


def test_test_images_evaluated_after_every_epoch_are_never_called_validation(tiny, tmp_path, capsys):
    run_experiment(tiny(dataset={"validation": "test"}, checkpoint={"choose": "last"}), tmp_path / "run", [])
    summary = summary_of(tmp_path / "run")
    assert summary["test_set_use"] == "after every epoch (dataset.validation=test)"
    last = history_of(tmp_path / "run")[-1]
    assert summary["accuracy"] == pytest.approx(last["test_accuracy"])
    assert not any("validation" in name for name in last)
    assert (tmp_path / "run" / "recalls.csv").read_text().splitlines()[1].startswith("1,test,")
    shown = capsys.readouterr().out
    assert "test loss" in shown and "validation" not in shown


def test_the_recall_of_every_class_is_saved_after_every_epoch(tiny, tmp_path):
    run_experiment(tiny(checkpoint={"monitor": "worst_recall"}), tmp_path / "run", [])
    recalls = RunFolder(tmp_path / "run").read_recalls()
    assert [recall.shape for recall in recalls] == [(10,), (10,)]
    assert [recall.min() for recall in recalls] == pytest.approx(
        [line["validation_worst_recall"] for line in history_of(tmp_path / "run")]
    )


def test_reports_contain_class_counts_and_the_log_starts_with_the_imbalance(tiny, tmp_path, capsys):
    tail = Imbalance(profile="exponential", factor=10)
    run_experiment(tiny(dataset={"imbalance": tail}), tmp_path / "run", [])
    counts = json.loads((tmp_path / "run" / "data.json").read_text())["counts"]["train"]
    assert (counts[0], counts[9]) == (112, 11)
    summary = summary_of(tmp_path / "run")
    assert list(summary["train_images_of_classes"].values()) == counts
    assert summary["imbalance_factor"] == pytest.approx(112 / 11)
    assert Predictions.load(tmp_path / "run" / "predictions" / "test.npz").train_images.tolist() == counts
    rows = csv.DictReader((tmp_path / "run" / "report" / "classification_report.csv").read_text().splitlines())
    assert [int(row["train_images"]) for row in rows] == counts
    first_lines = capsys.readouterr().out.partition("epoch 1/2")[0]
    assert "training images per class: 11 to 112, imbalance factor 10.18\n" in first_lines


def test_equal_seeds_give_equal_logits_and_different_seeds_different_ones(tiny, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run_experiment(tiny(seed=seed), tmp_path / name, [])
    one, again, other = (
        Predictions.load(tmp_path / name / "predictions" / "test.npz").logits for name in ("one", "again", "other")
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_loss_that_is_not_finite_is_named_with_its_step_and_not_checkpointed(tiny, tmp_path):
    config = tiny(optimizer={"name": "sgd"}, schedule={"max_lr": 1e30})
    with pytest.raises(TrainingFailed, match=r"the loss is (nan|inf) at step \d+ of 17 of epoch 1"):
        run_experiment(config, tmp_path / "run", [])
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert "TrainingFailed" in (tmp_path / "run" / "train.log").read_text()


def test_of_equal_epochs_the_one_of_lower_loss_is_best(tiny, tmp_path, monkeypatch):
    results = iter([(0.5, 0.9), (0.5, 0.4), (0.5, 0.6), (0.4, 0.1)])

    def seen(logits, labels):
        f1, loss = next(results)
        return {"loss": loss, "accuracy": f1, "macro_f1": f1, "worst_recall": f1}, epoch_metrics(logits, labels)[1]

    monkeypatch.setattr("cifar_imbalance.engine.loop.epoch_metrics", seen)
    run_experiment(tiny(training={"epochs": 4}), tmp_path / "run", [])
    assert summary_of(tmp_path / "run")["chosen_epoch"] == 2


@pytest.fixture
def without_logits(monkeypatch):
    """In evaluations the logit of one image is not a number: of the epochs' validation, or of the reported epoch."""

    def spoil(*, first, last):
        logits, calls = EvaluationStep.__call__, []

        def spoiled(step, module):
            calls.append(None)
            found = logits(step, module)
            if first <= len(calls) <= last:
                found[3, 1] = float("nan")
            return found

        monkeypatch.setattr(EvaluationStep, "__call__", spoiled)

    return spoil


def test_an_epoch_whose_logits_are_not_finite_is_never_the_best(tiny, tmp_path, without_logits, capsys):
    without_logits(first=1, last=1)
    run_experiment(tiny(), tmp_path / "run", [])
    first, second = history_of(tmp_path / "run")
    assert {name: first[f"validation_{name}"] for name in EPOCH_METRICS} == dict.fromkeys(EPOCH_METRICS)
    assert second["validation_macro_f1"] > 0
    assert summary_of(tmp_path / "run")["chosen_epoch"] == 2
    assert "validation loss not finite accuracy not finite macro_f1 not finite" in capsys.readouterr().out


def test_a_run_without_a_best_epoch_fails_with_a_message(tiny, tmp_path, without_logits):
    without_logits(first=1, last=2)
    with pytest.raises(TrainingFailed, match="there is no best epoch: the validation logits were not finite after any"):
        run_experiment(tiny(), tmp_path / "run", [])
    assert not (tmp_path / "run" / "report" / "summary.json").exists()


def test_test_logits_that_are_not_finite_are_not_reported(tiny, tmp_path, without_logits):
    without_logits(first=3, last=3)
    line = "the logits of 1 of 535 images are not finite, so there is nothing to report"
    with pytest.raises(TrainingFailed, match=line):
        run_experiment(tiny(), tmp_path / "run", [])
    assert not (tmp_path / "run" / "report" / "summary.json").exists()


def test_weights_that_are_not_finite_leave_neither_checkpoint_nor_history(tiny, tmp_path, monkeypatch):
    train_epoch = Loop.train_epoch

    def spoiled(loop, *arguments):
        line = train_epoch(loop, *arguments)
        next(loop.network.module.parameters()).data.fill_(float("nan"))
        return line

    monkeypatch.setattr(Loop, "train_epoch", spoiled)
    with pytest.raises(TrainingFailed, match="the weights are not finite after epoch 1; it is not checkpointed"):
        run_experiment(tiny(), tmp_path / "run", [])
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_batch_larger_than_the_data_is_rejected_before_a_folder_is_created(tiny, tmp_path):
    with pytest.raises(UsageError, match=r"training.batch_size=5000: .* 1132 training images"):
        run_experiment(tiny(training={"batch_size": 5000}), tmp_path / "run", [])
    assert list(tmp_path.iterdir()) == []


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("RESOURCE_EXHAUSTED: Attempting to allocate 1.5G. That was not possible. There are 800M free."),
    RuntimeError("Compilation failure: Ran out of memory in memory space hbm. Used 17.1G of 15.7G hbm."),
    MemoryError("Unable to allocate 10 GiB"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_running_out_of_memory_gives_a_one_line_error_and_a_logged_traceback(tiny, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(Loop, "run", full)
    with pytest.raises(TrainingFailed, match=r"the memory of runtime=cpu is too small for training\.batch_size=64"):
        run_experiment(tiny(), tmp_path / "run", [])
    assert type(error).__name__ in (tmp_path / "run" / "train.log").read_text()
