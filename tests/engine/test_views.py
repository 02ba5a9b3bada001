"""Logits averaged over views of the images at test time."""

import json

import numpy as np
import pytest

from cifar_imbalance.engine.views import mirrored, shifted_each_way, views_of
from cifar_imbalance.evidence.predictions import Predictions


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)


def test_shifts_are_by_2_of_32_pixels_in_four_directions(images):
    up, down, left, right = shifted_each_way(images)
    assert np.array_equal(up[:, :-2], images[:, 2:])
    assert np.array_equal(down[:, 2:], images[:, :-2])
    assert np.array_equal(left[:, :, :-2], images[:, :, 2:])
    assert np.array_equal(right[:, :, 2:], images[:, :, :-2])
    assert np.array_equal(up[:, -2:], images[:, [-2, -3]])  # the mirrored border


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("flip", 2), ("shift", 5), ("flip_shift", 10)])
def test_the_images_themselves_are_the_first_view(images, name, count):
    views = list(views_of(images, name))
    assert np.array_equal(views[0], images)
    assert len({view.tobytes() for view in views}) == len(views) == count


@pytest.mark.parametrize("name", ["flip", "flip_shift"])
def test_a_mirrored_image_has_the_same_views(images, name):
    assert {view.tobytes() for view in views_of(images, name)} == {
        view.tobytes() for view in views_of(mirrored(images), name)
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
        yield mirrored(images)

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


def test_mistakes_are_one_line(typed, tmp_path, tiny_run):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "views=flips")
    assert answer.err == ("evaluate.py: views=flips: allowed are none, flip, shift, flip_shift (did you mean flip?)\n")
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run.parent}", "group_by=seed", "views=flip")
    assert answer.code == 2
    assert answer.err.startswith("evaluate.py: views: has no effect on a table of runs")
