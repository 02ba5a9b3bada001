"""The tables show every class, or the worst and the best of many."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import classification_report

from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import measured
from cifar_imbalance.report import tables


def predictions_of(predicted: list[int], labels: list[int], names: list[str]) -> Predictions:
    n = len(labels)
    logits = (5.0 * np.eye(len(names))[predicted]).astype(np.float32)
    return Predictions(logits, np.array(labels), np.arange(n), np.arange(n, dtype=np.uint64), tuple(names))


@pytest.fixture
def small() -> Predictions:
    """cat: half right; dog: never predicted; owl: no images."""
    return predictions_of([0, 2, 2, 0], [0, 0, 2, 1], ["cat", "dog", "sea_ray", "owl"])


def many(classes: int) -> Predictions:
    """Class k of K has recall k / K."""
    labels = np.repeat(np.arange(classes), classes)
    correct = np.arange(classes * classes) % classes < labels
    predicted = np.where(correct, labels, (labels + 1) % classes)
    return predictions_of(predicted.tolist(), labels.tolist(), [f"name_{index}" for index in range(classes)])


def report(predictions: Predictions) -> str:
    return tables.classification_report_text(
        class_metrics(predictions), summarize(predictions), predictions.class_names
    )


def terminal(predictions: Predictions) -> str:
    return tables.terminal_table(class_metrics(predictions), summarize(predictions), predictions.class_names)


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if re.search(rf"\b{name}\b", line)]
    return line.split()


def test_the_report_equals_scikit_learns():
    predictions = many(7)
    theirs = classification_report(
        predictions.labels, predictions.predicted, target_names=predictions.class_names, digits=4
    )
    ours = report(predictions)
    for name in predictions.class_names:
        assert row(ours, name)[1:] == row(theirs, name)
    for name in ("accuracy", "macro avg", "weighted avg"):
        assert row(ours, name) == row(theirs, name)
    assert ours.splitlines()[0].split() == theirs.splitlines()[0].split()


def test_columns_are_aligned_with_their_headers(small):
    lines = [line for line in report(small).splitlines() if "0." in line and " avg" not in line]
    assert len({len(line) for line in lines}) == 1


def test_an_absent_class_has_dashes_and_a_footnote(small):
    text = report(small)
    assert row(text, "owl") == ["3", "owl", "-", "-", "-", "0"]
    assert "- absent:" in text
    assert "absent" not in report(many(3))


def test_a_class_that_is_never_predicted_has_a_star_and_a_footnote(small):
    text = report(small)
    assert row(text, "dog") == ["1", "dog", "0.0000*", "0.0000", "0.0000", "1"]
    assert "* never predicted:" in text
    assert "*" not in report(many(3)).replace("0.0000*", "")


def test_averages_exclude_absent_classes(small):
    # Recalls 1/2, 0 and 1.
    assert row(report(small), "macro avg")[3] == "0.5000"


def test_the_csv_has_a_line_for_each_class_and_empty_cells_for_absent_ones(small):
    text = tables.classification_report_csv(class_metrics(small), measured(small), small.class_names)
    lines = list(csv.reader(io.StringIO(text)))
    measures = ["precision", "recall", "f1", "false_positive_rate", "confidence", "calibration_error"]
    assert lines[0] == ["class", "name", *measures, "support", "predicted", "train_images"]
    assert lines[1][:6] == ["0", "cat", "0.500000", "0.500000", "0.500000", "0.500000"]
    assert lines[1][8:] == ["2", "2", ""]
    assert lines[2][:6] == ["1", "dog", "0.000000", "0.000000", "0.000000", "0.000000"]
    assert lines[4][:7] == ["3", "owl", "", "", "", "0.000000", ""]
    assert lines[4][8:] == ["0", "0", ""]


def test_the_training_images_of_each_class_stand_in_both_tables_where_they_are_known(small):
    counted = replace(small, train_images=np.array([40, 30, 20, 10]))
    assert row(report(counted), "dog")[-2:] == ["1", "30"]
    assert report(counted).splitlines()[0].split()[-1] == "train_images"
    text = tables.classification_report_csv(class_metrics(counted), measured(counted), counted.class_names)
    assert [line[-1] for line in csv.reader(io.StringIO(text))] == ["train_images", "40", "30", "20", "10"]
    assert "train_images" not in report(small)


def test_a_comma_in_a_name_stays_in_its_cell():
    predictions = predictions_of([0, 1], [0, 1], ['fox, "red"', "two\nlines"])
    text = tables.classification_report_csv(class_metrics(predictions), measured(predictions), predictions.class_names)
    assert [line[1] for line in csv.reader(io.StringIO(text))] == ["name", 'fox, "red"', "two\nlines"]


def test_up_to_20_classes_the_terminal_shows_all():
    text = terminal(many(20))
    assert all(f"name_{index} " in text for index in range(20))


def test_with_more_classes_the_terminal_shows_the_ten_worst_and_the_ten_best():
    shown = [int(index) for index in re.findall(r"name_(\d+) +[\d.]", terminal(many(30)))]
    assert shown == [*range(10), *range(20, 30)]


def test_no_class_is_shown_twice_where_few_of_many_have_images():
    predictions = predictions_of([0, 1, 2], [0, 1, 2], [f"name_{index}" for index in range(40)])
    text = terminal(predictions)
    assert re.findall(r"name_(\d+) +[\d.]", text) == ["0", "1", "2"]
    assert "absent_classes  37" in re.sub(" +", "  ", text)


def test_the_terminal_ends_with_the_summary(small):
    text = terminal(small)
    for key in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "worst_decile_recall", "recall_sd"):
        assert re.search(rf"^{key} +\d\.\d{{4}}", text, re.MULTILINE)
    assert re.search(r"^worst_class +0\.0000  dog$", text, re.MULTILINE)


def test_the_terminal_table_is_plain_text_of_80_columns_whatever_the_environment(monkeypatch):
    plain = terminal(many(30))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    assert terminal(many(30)) == plain
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 80


def test_names_are_never_markup_and_long_ones_keep_the_numbers_legible():
    text = terminal(predictions_of([0, 1, 2], [0, 1, 2], ["[bold]x[/bold]", "n" * 200, ":cat: [/]"]))
    assert "[bold]x[/bold]" in text
    assert ":cat: [/]" in text
    assert text.count("1.0000   1.0000") == 3


def test_wrongly_classified_images_are_listed_the_surest_first():
    predictions = Predictions(
        logits=np.log(np.array([[0.3, 0.7], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]], np.float32)),
        labels=np.array([0, 0, 0, 1]),
        indices=np.array([4, 5, 6, 7]),
        hashes=np.arange(4, dtype=np.uint64),
        class_names=("cat", "dog"),
        files=np.array([f"test/{name}.png" for name in ("cat/1", "cat/2", "cat/3", "dog/\x1b1")]),
    )
    assert tables.errors_csv(predictions).splitlines() == [
        "index,file,class,predicted,probability,probability_of_class",
        "5,test/cat/2.png,cat,dog,0.8000,0.2000",
        "4,test/cat/1.png,cat,dog,0.7000,0.3000",
        "7,test/dog/\\x1b1.png,dog,cat,0.6000,0.4000",
    ]
    assert tables.errors_csv(replace(predictions, files=None)).splitlines()[1] == "5,,cat,dog,0.8000,0.2000"
