"""A report is one complete folder, and its summary is returned to the caller."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.evidence.metrics import intervals_and_confusions, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.significance import TEST_IMAGES_ALONE
from cifar_imbalance.report.write import write_report
from cifar_imbalance.runs.stored import sealed

ALWAYS = {
    "classification_report.txt",
    "classification_report.csv",
    "errors.csv",
    "summary.json",
    *(f"{name}.{kind}" for name in ("confusion", "per_class") for kind in ("png", "pdf")),
    "report.html",
}
HISTORY = [{"epoch": 1, "phase": "training", "lr_start": 0.1, "lr_end": 0.1, "train_loss": 2.0, "train_accuracy": 0.3}]


@pytest.fixture
def predictions() -> Predictions:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 0]]
    labels = np.array([0, 1, 0, 0])
    return Predictions(logits, labels, np.arange(4), np.arange(4, dtype=np.uint64), ("cat", "dog", "сова"))


def test_a_report_contains_tables_summary_and_plots(predictions, tmp_path):
    write_report(tmp_path / "run" / "report", predictions, HISTORY, chosen_epoch=1, details={})
    written = {path.name for path in (tmp_path / "run" / "report").iterdir()}
    assert written == ALWAYS | {f"{name}.{kind}" for name in ("curves", "learning_rate") for kind in ("png", "pdf")}


def test_recalls_after_each_epoch_add_a_plot(predictions, tmp_path):
    recalls = [np.array([0.5, 1.0, np.nan])]
    write_report(tmp_path, predictions, HISTORY, chosen_epoch=1, details={}, recalls=recalls)
    assert (tmp_path / "recall_by_epoch.png").is_file()


def test_without_a_history_there_are_no_training_plots(predictions, tmp_path):
    write_report(tmp_path, predictions, [], chosen_epoch=None, details={})
    assert {path.name for path in tmp_path.iterdir()} == ALWAYS


def test_with_images_the_mistakes_are_a_plot(predictions, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 3), dtype=np.uint8)
    predictions = replace(predictions, hashes=image_hashes(images))
    write_report(tmp_path, predictions, [], chosen_epoch=None, details={}, images=images)
    assert {path.name for path in tmp_path.iterdir()} == ALWAYS | {"gallery.png", "gallery.pdf"}


def test_the_summary_is_the_details_and_then_the_metrics(predictions, tmp_path):
    details = {"split": "test", "chosen_epoch": 1}
    summary = write_report(tmp_path, predictions, HISTORY, chosen_epoch=1, details=details)
    assert list(summary.items()) == [
        *details.items(),
        *summarize(predictions).items(),
        *intervals_and_confusions(predictions).items(),
        ("uncertainty", TEST_IMAGES_ALONE),
    ]
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == sealed(summary)


def test_names_of_absent_classes_are_unescaped_in_the_summary(predictions, tmp_path):
    write_report(tmp_path, predictions, [], chosen_epoch=None, details={})
    assert '"сова"' in (tmp_path / "summary.json").read_text(encoding="utf-8")


def test_a_report_is_reproducible_byte_for_byte(predictions, tmp_path):
    write_report(tmp_path, predictions, HISTORY, chosen_epoch=1, details={})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_report(tmp_path, predictions, HISTORY, chosen_epoch=1, details={})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
