"""Predictions are saved and loaded unchanged, and other files are rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(
        logits=np.array([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]], np.float32),
        labels=np.array([2, 0]),
        indices=np.array([7, 5]),
        hashes=np.array([2**64 - 1, 3], np.uint64),
        class_names=("cat", "кошка", "$x_1$"),
    )


def test_the_largest_logit_is_predicted_and_the_first_of_equal_ones(predictions):
    assert predictions.predicted.tolist() == [1, 0]


def test_predictions_are_loaded_as_saved(predictions, tmp_path):
    predictions.save(tmp_path / "test.npz")
    loaded = Predictions.load(tmp_path / "test.npz")
    for name in ("logits", "labels", "indices", "hashes"):
        before, after = getattr(predictions, name), getattr(loaded, name)
        assert after.dtype == before.dtype
        assert np.array_equal(before, after)
    assert loaded.class_names == predictions.class_names
    assert [path.name for path in tmp_path.iterdir()] == ["test.npz"]


def test_names_of_files_are_kept_with_their_images(predictions, tmp_path):
    named = replace(predictions, files=np.array(["test/cat/1.png", "test/кошка/2.png"]))
    named.take(np.array([1, 0])).save(tmp_path / "test.npz")
    assert Predictions.load(tmp_path / "test.npz").files.tolist() == ["test/кошка/2.png", "test/cat/1.png"]


def test_equal_predictions_give_equal_files(predictions, tmp_path):
    predictions.save(tmp_path / "a.npz")
    Predictions.load(tmp_path / "a.npz").save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def foreign_file(kind: str, predictions: Predictions, path: Path) -> None:
    predictions.save(path)
    whole = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("logits: none\n")
    elif kind == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, predictions.logits)
    elif kind == "other arrays":
        np.savez(path, x=np.zeros(3))
    elif kind == "pickle":
        names = np.array(predictions.class_names, dtype=object)
        arrays = {field: getattr(predictions, field) for field in ("logits", "labels", "indices", "hashes")}
        np.savez(path, **arrays, class_names=names)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize("kind", ["empty", "text", "torn", "one array", "other arrays", "pickle", "folder", "missing"])
def test_any_other_file_gives_a_one_line_error_that_names_it(kind, predictions, tmp_path):
    path = tmp_path / "test.npz"
    foreign_file(kind, predictions, path)
    with pytest.raises(UsageError, match=r"test\.npz") as caught:
        Predictions.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("logits", np.zeros(3, np.float32), "shape"),
        ("logits", np.zeros((2, 3)), "float64"),
        ("logits", np.array([[0, 1, 2], [0, np.nan, 2]], np.float32), "the logits of 1 of 2 images are not finite"),
        ("logits", np.array([[np.inf, 1, 2], [0, -np.inf, 2]], np.float32), "the logits of 2 of 2 images"),
        ("labels", np.array([0]), r"expected \[2\]"),
        ("labels", np.array([0, 3]), r"0\.\.2"),
        ("labels", np.array([0, -1]), r"0\.\.2"),
        ("hashes", np.array([0, 1]), "uint64"),
        ("class_names", ("cat", "dog"), "2 class names for 3"),
    ],
)
def test_arrays_that_do_not_fit_together_are_rejected(field, value, message, predictions):
    # Constructed without __init__, where the type checks of the tests would fail first.
    wrong = object.__new__(Predictions)
    for name, given in {**vars(predictions), field: value}.items():
        object.__setattr__(wrong, name, given)
    with pytest.raises(ValueError, match=message):
        wrong.__post_init__()


@pytest.mark.parametrize(
    "values",
    [
        {"train_images": np.array(["1", "2", "3"])},
        {"train_images": np.array([1.0, 2.0, np.nan])},
        {"train_images": np.array([1, 2, -5])},
        {"train_images": np.zeros(3, np.int64)},
        {"files": np.arange(2)},
    ],
)
def test_what_is_optional_is_checked_too(values, predictions):
    with pytest.raises((ValueError, TypeError), match=next(iter(values))):  # TypeError: of the tests' type checks
        replace(predictions, **values)
