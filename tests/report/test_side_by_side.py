"""A run compared with the paper's tables, which ship with the package."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.published import published_tables, read_published
from cifar_imbalance.evidence.significance import TEST_IMAGES_ALONE, paired_test
from cifar_imbalance.report.reference import Reference, read_reference
from cifar_imbalance.report.side_by_side import write_side_by_side


@pytest.fixture(scope="module")
def names():
    """A hundred classes, including those in the tables, each at its index."""
    printed = {}
    for table in published_tables():
        _, rows = read_published(table)
        printed |= {int(row["class"]): name for name, row in rows.items()}
    return tuple(printed.get(index, f"class {index}") for index in range(100))


def run_with_recalls(names, recalls):
    """Predictions on 100 images of each class with these recalls."""
    labels = np.repeat(np.arange(100), 100)
    right = np.concatenate([np.arange(100) < round(100 * recall) for recall in recalls])
    predicted = np.where(right, labels, (labels + 1) % 100)
    logits = np.eye(100, dtype=np.float32)[predicted]
    return Predictions(logits, labels, np.arange(10_000), np.arange(10_000, dtype=np.uint64), names)


def test_the_papers_tables_are_as_printed(names):
    exp2, exp3 = (read_reference(f"paper/{name}", "test", names) for name in ("exp2", "exp3"))
    assert [(~np.isnan(table.recall)).sum() for table in (exp2, exp3)] == [54, 58]
    assert [round(float(np.nanmean(table.recall)), 3) for table in (exp2, exp3)] == [0.541, 0.629]
    assert (exp2.recall[11], exp3.recall[11]) == (0.37, 0.24)  # boy, whose recall drops in the ensemble
    both = ~np.isnan(exp2.recall) & ~np.isnan(exp3.recall)
    lost = np.flatnonzero(both & (exp3.recall - exp2.recall <= -0.0999))
    assert [names[index] for index in lost] == ["boy", "oak_tree", "otter"]
    assert len(exp3.contradictions) == 4


def test_only_classes_whose_interval_excludes_0_are_gained_or_lost(names, tmp_path):
    table = read_reference("paper/exp3", "test", names)
    recalls = np.nan_to_num(table.recall, nan=0.5)
    recalls[0], recalls[11] = 0.41, 0.54  # apple falls from 0.81, boy rises from 0.24
    recalls[3] += 0.05  # bear: 0.37 to 0.42, within noise on 100 images
    head, _ = write_side_by_side(
        tmp_path, run_with_recalls(names, recalls), table, run="run", differences=["model: a, b"]
    )
    assert "gained: 1 class: boy +0.30" in head
    assert "lost: 1 class: apple -0.40" in head
    assert "The reference contradicts itself" in head
    assert head.count("(as printed, which repeats table 8)") == 4
    lines = head.splitlines()
    assert lines[2:4] == ["They differ in:", "- model: a, b"]
    assert lines[6].split()[:3] == ["accuracy", "(text)", "0.6400"]  # before the misprint
    assert lines[7].split()[:2] == ["accuracy", "0.5500"]
    assert TEST_IMAGES_ALONE in lines
    with (tmp_path / "side_by_side.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    assert [row["verdict"] for row in rows if row["verdict"]] == ["lost", "gained"]
    bear = rows[3]
    assert float(bear["low"]) < 0 < float(bear["recall_difference"]) < float(bear["high"])
    assert (bear["reference_recall"], bear["run_recall"]) == ("0.37", "0.42")
    left_out = next(row for row in rows if row["reference_recall"] == "")
    assert left_out["recall_difference"] == left_out["verdict"] == ""
    text = (tmp_path / "side_by_side.txt").read_text().splitlines()
    (apple,) = [line.split() for line in text if line.split()[1:2] == ["apple"]]
    assert apple[5:8] == ["0.81", "0.41", "-0.40"] and apple[-1] == "lost"
    unprinted = [int(line.split()[0]) for line in text if line.split()[0:1] and line.split()[-1] == "-"]
    assert len(unprinted) == 42 and unprinted == sorted(unprinted)  # all have our recall of 0.5 here
    assert {path.name for path in tmp_path.iterdir()} == {
        f"side_by_side.{kind}" for kind in ("txt", "csv", "png", "pdf")
    }


def test_a_chinese_name_keeps_the_columns_aligned(names, tmp_path):
    wide = tuple("熊" if name == "bear" else name for name in names)
    recalls = np.full(100, 0.5)
    both = [run_with_recalls(wide, recalls), run_with_recalls(wide, recalls)]
    reference = replace(read_reference("paper/exp3", "test", names), predictions=both[0])
    head, _ = write_side_by_side(tmp_path, both[1], reference, run="run", differences=[])
    assert "Model, epochs and data are the same as far as is known." in head
    rows = [line for line in (tmp_path / "side_by_side.txt").read_text().splitlines() if line[:5].strip().isdigit()]
    assert {cell_len(line) for line in rows} == {cell_len(rows[0])}


def test_too_few_images_to_find_anything_are_told(tmp_path):
    logits, labels = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 1, 1, 1]], np.repeat([0, 1], [3, 6])
    run = Predictions(logits, labels, np.arange(9), np.arange(9, dtype=np.uint64), ("a", "b"))
    none = replace(run, logits=1 - logits)
    test = paired_test(none, run)
    assert test.p.tolist() == [0.25, 0.03125]
    reference = Reference("other", *np.zeros((3, 2)), np.array([3, 6]), summarize(none), none, {}, {}, [], {}, None)
    head, _ = write_side_by_side(tmp_path, run, reference, run="run", differences=[])
    assert "1 of 2 classes have fewer than 6 images, too few to find anything" in head


def test_a_table_of_other_classes_is_rejected():
    with pytest.raises(UsageError, match=r"reference=paper/exp2: it is of CIFAR-100; the run has no class apple"):
        read_reference("paper/exp2", "test", ("cat", "dog"))
