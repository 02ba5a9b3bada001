"""Logits averaged over views of the images at test time."""

import csv
import json

import numpy as np
import pytest

from cifar_imbalance.engine.views import mirrored, shifted_each_way, views_of
from cifar_imbalance.evidence import view_weights
from cifar_imbalance.evidence.fitting import folds_of
from cifar_imbalance.evidence.predictions import Predictions


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)


def test_shifts_are_by_2_of_32_pixels_in_four_directions(images):
    ways = dict(shifted_each_way(images))
    up, down, left, right = (ways[way] for way in ("up", "down", "left", "right"))
    assert np.array_equal(up[:, :-2], images[:, 2:])
    assert np.array_equal(down[:, 2:], images[:, :-2])
    assert np.array_equal(left[:, :, :-2], images[:, :, 2:])
    assert np.array_equal(right[:, :, 2:], images[:, :, :-2])
    assert np.array_equal(up[:, -2:], images[:, [-2, -3]])  # the mirrored border


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("flip", 2), ("shift", 5), ("flip_shift", 10)])
def test_the_images_themselves_are_the_first_view(images, name, count):
    views = dict(views_of(images, name))
    assert np.array_equal(views["image"], images)
    assert len({view.tobytes() for view in views.values()}) == len(views) == count


@pytest.mark.parametrize("name", ["flip", "flip_shift"])
def test_a_mirrored_image_has_the_same_views(images, name):
    assert {view.tobytes() for _, view in views_of(images, name)} == {
        view.tobytes() for _, view in views_of(mirrored(images), name)
    }


def evaluated(typed, folder, ckpt, *words, split="test"):
    """The predictions of an evaluation and its summary."""
    answer = typed(folder, "evaluate", f"ckpt={ckpt}", f"split={split}", *words, "hydra.run.dir=found")
    assert answer.code == 0, answer.err
    found = max(folder.glob("found*"), key=lambda path: path.stat().st_mtime_ns)
    return Predictions.load(found / "predictions" / f"{split}.npz"), json.loads(
        (found / "report" / "summary.json").read_text()
    )


def test_logits_are_the_mean_over_the_views(typed, tmp_path, tiny_run, monkeypatch):
    saved = Predictions.load(tiny_run / "predictions" / "test.npz").logits.astype(np.float64)
    both, summary = evaluated(typed, tmp_path, tiny_run, "views=flip")
    assert summary["views"] == "flip"

    def only_mirrored(images, name):
        yield "mirrored", mirrored(images)

    monkeypatch.setattr("cifar_imbalance.engine.reported.views_of", only_mirrored)
    other, _ = evaluated(typed, tmp_path, tiny_run)
    assert not np.allclose(other.logits, saved, atol=0.01)
    assert both.logits == pytest.approx((saved + other.logits) / 2, abs=1e-5)


def test_views_come_before_adjustments_which_are_fitted_on_views(typed, tmp_path, tiny_run):
    plain, _ = evaluated(typed, tmp_path, tiny_run, "views=flip")
    _, of_validation = evaluated(typed, tmp_path, tiny_run, "views=flip", split="validation")
    adjusted, _ = evaluated(typed, tmp_path, tiny_run, "views=flip", "adjust=temperature")
    found = max(tmp_path.glob("found*"), key=lambda path: path.stat().st_mtime_ns)
    record = json.loads((found / "report" / "adjustment.json").read_text())
    assert record["validation_before"]["loss"] == pytest.approx(of_validation["loss"], abs=1e-4)
    assert adjusted.logits == pytest.approx(plain.logits / record["fitted"]["temperature"], rel=1e-4, abs=1e-4)


def test_members_of_a_list_are_run_on_the_views_and_combined(typed, tmp_path, tiny_run, tiny_words):
    answer = typed(tmp_path, "train", *tiny_words, "seed=1", "hydra.run.dir=other")
    assert answer.code == 0, answer.err
    one, _ = evaluated(typed, tmp_path, tiny_run, "views=flip")
    two, _ = evaluated(typed, tmp_path, tmp_path / "other", "views=flip")
    words = ("ensemble.combine=mean_logit", "views=flip", "runtime.threads=1")
    both, summary = evaluated(typed, tmp_path, f"[{tiny_run},{tmp_path / 'other'}]", *words)
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (one.logits, two.logits)]
    assert both.logits == pytest.approx(np.mean(centred, axis=0), abs=1e-5)
    assert (summary["views"], summary["members"]) == ("flip", 2)


def made_up(reliable, seed=0):
    """Logits of three views of 4,000 images of four classes; of each class one view, reliable[class], is right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(4, size=4000)
    logits = generator.normal(size=(3, 4000, 4)).astype(np.float32)
    for k, view in enumerate(reliable):
        logits[view, labels == k, k] += 4
    return logits, labels


def test_learnt_weights_prefer_the_view_that_knows_a_class():
    logits, labels = made_up(reliable=(0, 1, 2, 0))
    weights = view_weights.fit(logits, labels)
    assert weights.sum(axis=0) == pytest.approx(1)
    assert weights.min() >= 0
    assert weights.argmax(axis=0).tolist() == [0, 1, 2, 0]
    other, other_labels = made_up((0, 1, 2, 0), seed=1)
    equal, learnt = view_weights.mean(other), view_weights.weighted(other, weights)
    assert (learnt.argmax(axis=1) == other_labels).mean() > (equal.argmax(axis=1) == other_labels).mean() + 0.03


def test_views_that_are_alike_have_equal_weights_and_their_average_is_the_centred_mean():
    logits, labels = made_up((0, 1, 2, 0))
    same = np.stack([logits[0], logits[0] + 1])  # softmax is blind to a constant
    weights = view_weights.fit(same, labels)
    assert weights == pytest.approx(np.full((2, 4), 0.5), abs=1e-6)
    centred = logits[0] - logits[0].mean(axis=1, keepdims=True)
    assert view_weights.weighted(same, weights) == pytest.approx(centred, abs=1e-5)


def test_validation_images_are_weighted_by_what_was_learnt_on_other_ones():
    logits, labels = made_up((0, 1, 2, 0))
    found = view_weights.cross_fitted(logits, labels)
    for kept, out in folds_of(labels, "test"):
        weights = view_weights.fit(logits[:, kept], labels[kept])
        assert np.array_equal(found[out], view_weights.weighted(logits[:, out], weights))


def test_learnt_weights_of_a_run_are_those_of_its_views_on_validation_images(typed, tmp_path, tiny_run):
    learnt, summary = evaluated(typed, tmp_path, tiny_run, "views=flip", "view_weights=by_class")
    assert (summary["views"], summary["view_weights"]) == ("flip", "by_class")
    found = max(tmp_path.glob("found*"), key=lambda path: path.stat().st_mtime_ns)
    rows = list(csv.DictReader((found / "report" / "view_weights.csv").read_text().splitlines()))
    weights = np.array([[float(row["image"]), float(row["mirrored"])] for row in rows]).T
    assert [row["name"] for row in rows] == list(learnt.class_names)
    image = Predictions.load(tiny_run / "predictions" / "test.npz").logits.astype(np.float64)
    both, _ = evaluated(typed, tmp_path, tiny_run, "views=flip")
    stack = np.stack([image, 2 * both.logits - image]).astype(np.float32)
    assert learnt.logits == pytest.approx(view_weights.weighted(stack, weights), abs=2e-3)  # four digits in the file


def test_learnt_weights_need_validation_images_and_views(typed, tmp_path, tiny_run, tiny_words):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "view_weights=by_class")
    assert answer.err == "evaluate.py: view_weights=by_class: has no effect: views=none is one view\n"
    assert typed(tmp_path, "train", *tiny_words, "dataset.validation=none", "hydra.run.dir=whole").code == 0
    answer = typed(tmp_path, "evaluate", f"ckpt={tmp_path / 'whole'}", "views=flip", "view_weights=by_class")
    assert answer.err == (
        f"evaluate.py: view_weights=by_class: they are learnt on validation images, which {tmp_path / 'whole'} "
        "did not hold out (dataset.validation=holdout)\n"
    )


def test_mistakes_are_one_line(typed, tmp_path, tiny_run):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "views=flips")
    assert answer.err == ("evaluate.py: views=flips (did you mean flip?): allowed are none, flip, shift, flip_shift\n")
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run.parent}", "group_by=seed", "views=flip")
    assert answer.code == 2
    assert answer.err.startswith("evaluate.py: views: has no effect on a table of runs")
