"""Metrics agree with scikit-learn if every class has images, and are well-defined if one has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

from cifar_imbalance.evidence import metrics as metrics_module
from cifar_imbalance.evidence import probabilities as probabilities_module
from cifar_imbalance.evidence.metrics import (
    class_metrics,
    confusion_matrix,
    epoch_metrics,
    intervals_and_confusions,
    recall_interval,
    summarize,
)
from cifar_imbalance.evidence.predictions import Predictions


def from_logits(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    n, classes = logits.shape
    names = tuple(f"class_{index}" for index in range(classes))
    hashes = np.arange(n, dtype=np.uint64)
    return Predictions(logits.astype(np.float32), np.asarray(labels), np.arange(n), hashes, names)


def from_predicted(predicted: list[int], labels: list[int], classes: int) -> Predictions:
    return from_logits(5.0 * np.eye(classes)[predicted], np.array(labels))


def imbalanced(seed: int, *, classes: int = 12, images: int = 900) -> Predictions:
    """A long tail of labels, every class present, and logits that favour the large classes."""
    generator = np.random.default_rng(seed)
    share = np.geomspace(1, 0.02, classes)
    labels = generator.choice(classes, images, p=share / share.sum())
    labels[:classes] = np.arange(classes)
    logits = generator.normal(size=(images, classes)) + np.log(share)
    logits[np.arange(images), labels] += 2.0
    return from_logits(logits, labels)


@pytest.mark.parametrize("seed", range(3))
def test_class_metrics_and_means_equal_scikit_learns(seed):
    predictions = imbalanced(seed)
    expected = classification_report(
        predictions.labels,
        predictions.predicted,
        labels=range(12),
        target_names=predictions.class_names,
        output_dict=True,
        zero_division=0,
    )
    metrics, summary = class_metrics(predictions), summarize(predictions)
    for index, name in enumerate(predictions.class_names):
        assert metrics.precision[index] == pytest.approx(expected[name]["precision"], rel=1e-14)
        assert metrics.recall[index] == pytest.approx(expected[name]["recall"], rel=1e-14)
        assert metrics.f1[index] == pytest.approx(expected[name]["f1-score"], rel=1e-14)
        assert metrics.support[index] == expected[name]["support"]
    assert summary["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert summary["macro_precision"] == pytest.approx(expected["macro avg"]["precision"], abs=1e-6)
    assert summary["macro_recall"] == pytest.approx(expected["macro avg"]["recall"], abs=1e-6)
    assert summary["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"], abs=1e-6)
    assert summary["weighted_f1"] == pytest.approx(expected["weighted avg"]["f1-score"], abs=1e-6)
    assert metrics.weighted(metrics.precision) == pytest.approx(expected["weighted avg"]["precision"], abs=1e-6)


def test_one_hot_rows_give_the_results_of_torchmetrics_multiclass_functions():
    predictions = imbalanced(3)
    metrics = class_metrics(predictions)
    predicted, labels = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.labels)
    for ours, theirs in (
        (metrics.precision, multiclass_precision),
        (metrics.recall, multiclass_recall),
        (metrics.f1, multiclass_f1_score),
    ):
        assert ours == pytest.approx(theirs(predicted, labels, num_classes=12, average="none").numpy(), abs=1e-6)


def test_the_false_positive_rate_is_the_share_of_other_classes_images_that_are_predicted_as_the_class():
    metrics = class_metrics(from_predicted([0, 0, 1, 1, 0, 3], [0, 0, 0, 1, 1, 2], classes=4))
    assert metrics.false_positive_rate.tolist() == pytest.approx([1 / 3, 1 / 4, 0, 1 / 6])


def test_means_of_recalls():
    summary = summarize(from_predicted([0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1], classes=2))  # 1 and 1/3
    assert summary["harmonic_mean"] == pytest.approx(0.5)
    assert summary["geometric_mean"] == pytest.approx(3**-0.5, abs=1e-7)
    assert summary["recall_cv"] == pytest.approx(0.5)
    assert summary["decile_gap"] == pytest.approx(2 / 3, abs=1e-7)
    none_right = summarize(from_predicted([0, 0, 0], [0, 1, 1], classes=2))
    assert (none_right["harmonic_mean"], none_right["geometric_mean"]) == (0, 0)
    assert none_right["geometric_mean_floored"] == 0.5  # of 1 and 1 / 4


def test_groups_by_the_training_images_of_a_class():
    predictions = from_predicted([0, 1, 2, 0, 0, 0], [0, 1, 2, 3, 4, 4], classes=5)
    counts = np.array([101, 100, 20, 19, 1])
    groups = summarize(replace(predictions, train_images=counts))["groups"]
    assert groups == {
        "many": {"classes": 1, "recall": 1.0},
        "medium": {"classes": 2, "recall": 1.0},
        "few": {"classes": 2, "recall": 0.0},
    }


def test_the_most_frequent_confusions():
    predictions = from_predicted([1, 1, 0, 2, 0, 1], [0, 0, 0, 0, 1, 1], classes=3)
    found = intervals_and_confusions(predictions)["most_confused"]
    assert found == [["class_0", "class_1", 0.5], ["class_0", "class_2", 0.25], ["class_1", "class_0", 0.5]]


def test_a_metric_has_no_interval_where_no_draw_can_change_it():
    found = intervals_and_confusions(from_predicted([0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1], classes=2))["intervals"]
    assert set(found) == {
        "accuracy",
        *("macro_precision", "macro_recall", "macro_f1", "worst_recall", "worst_decile_recall"),
    }
    assert intervals_and_confusions(from_predicted([0, 1, 1], [0, 1, 1], classes=2))["intervals"] == {}


def test_rows_of_the_confusion_matrix_are_the_true_classes():
    predictions = imbalanced(4)
    matrix = confusion_matrix(predictions)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, sklearn_confusion_matrix(predictions.labels, predictions.predicted))
    assert confusion_matrix(from_predicted([1, 1], [0, 1], 2)).tolist() == [[0, 1], [0, 1]]


def test_groups_of_the_confusion_matrix_are_sums_of_its_rows_and_columns():
    predictions = imbalanced(0, classes=10)
    matrix, first = confusion_matrix(predictions), [0, 4, 8]
    sums = np.add.reduceat(np.add.reduceat(matrix, first, axis=0), first, axis=1)
    assert np.array_equal(confusion_matrix(predictions, group=4), sums)


def test_many_classes_need_no_array_of_images_by_classes(monkeypatch):
    """Of 2,000 images of 1,000 classes; torchmetrics needs many times as much memory as it is given."""
    largest = 0

    def observed(metric):
        def call(rows, *arguments, **options):
            nonlocal largest
            largest = max(largest, rows.numel())
            return metric(rows, *arguments, **options)

        return call

    counting = metrics_module.multilabel_stat_scores
    monkeypatch.setattr(metrics_module, "multilabel_stat_scores", observed(counting))
    found = class_metrics(predictions := imbalanced(0, classes=1000, images=2000))
    assert largest <= 2000 * 256
    expected = precision_recall_fscore_support(predictions.labels, predictions.predicted, zero_division=0)
    for ours, theirs in zip((found.precision, found.recall, found.f1), expected, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


def test_the_summary_does_not_depend_on_how_many_logits_are_read_at_once(monkeypatch):
    predictions = imbalanced(0)
    whole = summarize(predictions)
    monkeypatch.setattr(probabilities_module, "_AT_ONCE", 1000)
    parts = summarize(predictions)
    assert parts.pop("loss") == pytest.approx(whole.pop("loss"), rel=1e-12)
    assert parts == whole


def test_a_class_without_images_does_not_spoil_perfect_predictions():
    predictions = from_predicted([0, 1, 2], [0, 1, 2], classes=4)
    summary = summarize(predictions)
    assert summary["macro_recall"] == summary["macro_precision"] == summary["macro_f1"] == 1.0
    assert summary["absent_classes"] == ["class_3"]
    assert summary["never_predicted_classes"] == []
    assert summary["worst_recall"] == 1.0


def test_predicting_a_class_without_images_counts_only_as_a_mistake():
    # Recalls 1, 1, 1/2; scikit-learn's mean over all four labels is 0.625.
    predictions = from_predicted([0, 1, 2, 3], [0, 1, 2, 2], classes=4)
    metrics, summary = class_metrics(predictions), summarize(predictions)
    assert summary["macro_recall"] == pytest.approx(5 / 6, abs=1e-6)
    for values in (metrics.precision, metrics.recall, metrics.f1):
        assert np.isnan(values).tolist() == [False, False, False, True]
    assert metrics.absent.tolist() == [False, False, False, True]
    assert metrics.predicted_count.tolist() == [1, 1, 1, 1]


def test_a_class_that_is_never_predicted_has_precision_0_and_is_listed():
    predictions = from_predicted([0, 0, 2], [0, 1, 2], classes=3)
    metrics = class_metrics(predictions)
    assert metrics.precision[1] == metrics.recall[1] == metrics.f1[1] == 0.0
    assert metrics.never_predicted.tolist() == [False, True, False]
    assert summarize(predictions)["never_predicted_classes"] == ["class_1"]


@pytest.fixture
def staircase() -> Predictions:
    """Recalls 0.00, 0.04 ... 0.96 of 25 classes with 25 images each, and a last class without images."""
    labels = np.repeat(np.arange(25), 25)
    correct = np.arange(625) % 25 < labels
    return from_predicted(np.where(correct, labels, (labels + 1) % 25).tolist(), labels.tolist(), classes=26)


def test_the_worst_decile_is_the_mean_of_the_lowest_tenth_of_recalls_rounded_up(staircase):
    summary = summarize(staircase)
    assert summary["worst_decile_recall"] == pytest.approx((0.00 + 0.04 + 0.08) / 3, abs=1e-6)
    assert summary["best_decile_recall"] == pytest.approx((0.88 + 0.92 + 0.96) / 3, abs=1e-6)
    assert summary["worst_class"] == {"name": "class_0", "recall": 0.0}
    assert summary["best_class"] == {"name": "class_24", "recall": 0.96}
    assert summary["worst_recall"] == 0.0


def test_the_standard_deviation_is_that_of_the_population_of_classes(staircase):
    assert summarize(staircase)["recall_sd"] == pytest.approx(np.std(np.arange(25) / 25), abs=1e-6)


def test_the_gini_coefficient_is_half_the_relative_mean_difference(staircase):
    recalls = np.arange(25) / 25
    difference = np.abs(recalls[:, None] - recalls).mean()
    assert summarize(staircase)["recall_gini"] == pytest.approx(difference / (2 * recalls.mean()), abs=1e-6)
    assert summarize(from_predicted([0, 1], [0, 1], 2))["recall_gini"] == 0.0
    assert summarize(from_predicted([1, 0], [0, 1], 2))["recall_gini"] is None


def test_balanced_accuracy_is_macro_recall():
    summary = summarize(imbalanced(5))
    assert summary["balanced_accuracy"] == summary["macro_recall"]


def test_top5_counts_a_label_among_the_five_largest_logits():
    logits = np.tile(np.arange(6.0), (4, 1))
    assert summarize(from_logits(logits, np.array([5, 1, 0, 0])))["top5_accuracy"] == 0.5
    assert "top5_accuracy" not in summarize(from_predicted([0], [0], classes=5))


def test_the_loss_is_the_mean_negative_log_likelihood():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    summary = summarize(from_logits(logits, np.array([0, 2])))
    assert summary["loss"] == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2)


def test_calibration_error_is_confidence_minus_accuracy_even_for_logits_between_0_and_1():
    # Softmax of (1, 0) is 0.731; half of the images are right.
    summary = summarize(from_logits(np.tile([1.0, 0.0], (10, 1)), np.arange(10) % 2))
    assert summary["calibration_error"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5, abs=1e-6)


def test_calibration_error_has_a_confidence_of_1_in_the_last_bin():
    # Confidences 0.943 and 1 share a bin, with a mean of 0.9715 and an accuracy of 0.5.
    summary = summarize(from_logits(np.array([[3.5, 0, 0], [200, 0, 0]]), [0, 1]))
    assert summary["calibration_error"] == pytest.approx(0.4715, abs=5e-5)


def test_an_epoch_with_logits_that_are_not_finite_has_no_results():
    for wrong in (np.nan, np.inf, -np.inf):
        results, by_class = epoch_metrics(np.array([[1, 0], [wrong, 0]], np.float32), np.array([0, 1]))
        assert results == {"loss": None, "accuracy": None, "macro_f1": None, "worst_recall": None}
        assert np.isnan(by_class.recall).all()


def test_the_order_of_the_images_does_not_matter():
    predictions = imbalanced(6)
    order = np.random.default_rng(0).permutation(len(predictions.labels))
    shuffled = from_logits(predictions.logits[order], predictions.labels[order])
    before, after = summarize(predictions), summarize(shuffled)
    assert after.pop("loss") == pytest.approx(before.pop("loss"))
    assert after.pop("calibration_error") == pytest.approx(before.pop("calibration_error"), abs=1e-6)
    assert after == before


def test_renumbering_the_classes_only_renumbers_the_metrics():
    predictions = imbalanced(7)
    order = np.random.default_rng(1).permutation(12)
    renumbered = from_logits(predictions.logits[:, order], np.argsort(order)[predictions.labels])
    before, after = class_metrics(predictions), class_metrics(renumbered)
    assert np.array_equal(after.recall, before.recall[order])
    assert np.array_equal(after.precision, before.precision[order])
    assert np.array_equal(after.f1, before.f1[order])
    assert np.array_equal(confusion_matrix(renumbered), confusion_matrix(predictions)[np.ix_(order, order)])
    assert summarize(renumbered)["macro_f1"] == pytest.approx(summarize(predictions)["macro_f1"], abs=1e-6)


def test_epoch_metrics_equal_those_of_the_summary():
    predictions = imbalanced(8)
    (results, by_class), summary = epoch_metrics(predictions.logits, predictions.labels), summarize(predictions)
    assert list(results) == ["loss", "accuracy", "macro_f1", "worst_recall"]
    assert results == {key: summary[key] for key in results}
    assert by_class.recall.min() == summary["worst_recall"]


def test_the_interval_of_a_recall_is_wilsons_interval():
    # 8 of 10, Wilson 1927; 0 of 1 gives a wide interval; an absent class has no interval.
    predictions = from_predicted([0] * 8 + [1] * 2 + [0], [0] * 10 + [1], classes=3)
    low, high = recall_interval(class_metrics(predictions))
    assert low[:2] == pytest.approx([0.4902, 0.0], abs=1e-4)
    assert high[:2] == pytest.approx([0.9433, 0.7935], abs=1e-4)
    assert np.isnan(low[2]) and np.isnan(high[2])


def test_hundreds_of_classes_may_have_neither_images_nor_predictions():
    logits = np.zeros((4, 700), np.float32)
    logits[[0, 1, 2, 3], [0, 1, 1, 0]] = 1
    metrics = epoch_metrics(logits, np.array([0, 1, 0, 0]))[1]
    assert metrics.recall[:2].round(4).tolist() == [0.6667, 1.0]
    assert np.isnan(metrics.recall[2:]).all() and metrics.precision[1] == 0.5
