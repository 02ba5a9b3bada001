"""Controllers that follow the validation metrics of the classes: their formulas, and what a run does with them."""

import csv
import math

import numpy as np
import pytest
import torch

from cifar_imbalance.configuration.fields import BackOff, ConstantLevel, Controller, DifficultyWeights, LevelByRecall
from cifar_imbalance.configuration.fields import Cdb as CdbSettings
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controllers import CONTROLLERS

NAN = float("nan")


def metrics(recall, wrong=None):
    recall = np.array(recall, dtype=np.float64)
    count = np.full(len(recall), 50)
    rate = np.full(len(recall), 0.01) if wrong is None else np.array(wrong, dtype=np.float64)
    return ClassMetrics(recall, recall, recall, rate, count, count)


def made(name, settings=None, counts=(500, 500, 500), weight=None):
    counts = np.array(counts)
    weight = (counts > 0).astype(float) if weight is None else np.array(weight, dtype=np.float64)
    blocks = {} if settings is None else {name: settings}
    return CONTROLLERS[name](Classes(counts, weight, np.zeros_like(counts)), Controller(name=name, **blocks))


@pytest.mark.parametrize("name", ["cdb", "recall_weights", "false_positive_weights"])
def test_the_first_epochs_weights_are_those_by_count(name):
    assert made(name, weight=[0.5, 1.0, 1.5]).classes().weight.tolist() == [0.5, 1.0, 1.5]


def test_cdb_is_a_power_of_one_minus_recall():
    found = made("cdb", CdbSettings(power=2.0))
    found.observe(metrics([0.9, 0.5, 0.2]))
    expected = np.array([0.1, 0.5, 0.8]) ** 2
    assert found.classes().weight == pytest.approx(expected / expected.mean())


def test_cdbs_dynamic_power_is_the_papers():
    found = made("cdb")
    found.observe(metrics([0.9, 0.5, 0.2]))
    bias = 0.9 / 0.21 - 1
    expected = np.array([0.1, 0.5, 0.8]) ** (2 / (1 + math.exp(-bias)))
    assert found.classes().weight == pytest.approx(expected / expected.mean())
    found.observe(metrics([0.5, 0.5, 0.5]))  # only the last epoch counts, and equal classes have equal weights
    assert found.classes().weight == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("name", ["cdb", "recall_weights"])
def test_classes_without_mistakes_keep_a_weight(name):
    found = made(name)
    found.observe(metrics([1.0, 1.0, 1.0]))
    assert found.classes().weight == pytest.approx([1.0, 1.0, 1.0])


def test_recall_weights_average_raise_scale_and_clip():
    found = made("recall_weights", DifficultyWeights(power=2.0, momentum=0.75, lowest=0.5, highest=2.0))
    found.observe(metrics([0.8, 0.4, 0.6]))
    found.observe(metrics([0.4, 0.8, 0.6]))
    difficulty = 1 - np.array([0.7, 0.5, 0.6]) + 0.01  # 0.75 of the first and 0.25 of the second
    expected = difficulty**2 / (difficulty**2).mean()
    assert found.classes().weight == pytest.approx(expected)
    for _ in range(100):
        found.observe(metrics([1.0, 1.0, 0.0]))
    assert found.classes().weight == pytest.approx([0.5, 0.5, 2.0])


def test_false_positives_are_compared_with_the_mean_class():
    found = made("false_positive_weights", DifficultyWeights(momentum=0.0, lowest=0.0, highest=10.0))
    found.observe(metrics([0.5] * 3, wrong=[0.01, 0.02, 0.03]))
    expected = np.array([0.5, 1.0, 1.5]) + 0.01
    assert found.classes().weight == pytest.approx(expected / expected.mean())


def test_weights_by_count_and_by_difficulty_are_multiplied():
    found = made("recall_weights", DifficultyWeights(momentum=0.0, lowest=0.0, highest=10.0), weight=[2.0, 1.0, 0.0])
    found.observe(metrics([0.2, 0.8, 0.5]))
    difficulty = np.array([0.81, 0.21, 0.51])
    assert found.classes().weight == pytest.approx(difficulty / difficulty.mean() * [2.0, 1.0, 0.0])


def test_a_class_without_validation_images_has_the_mean_difficulty():
    found = made("recall_weights")
    found.observe(metrics([0.7, NAN, 0.3], wrong=[0.01, NAN, 0.01]))
    assert found.classes().weight[1] == pytest.approx(1.0)


@pytest.mark.parametrize(("strong_for", "levels"), [("easy", [0, 10, 5]), ("hard", [10, 0, 5])])
def test_levels_go_by_the_rank_of_recall_in_both_directions(strong_for, levels):
    found = made("level_by_recall", LevelByRecall(strong_for=strong_for))
    assert found.classes().level.tolist() == [0, 0, 0]
    found.observe(metrics([0.2, 0.9, 0.8]))
    assert found.classes().level.tolist() == levels


@pytest.mark.parametrize(("strong_for", "levels"), [("easy", [5, 4, 1, 1, 1]), ("hard", [0, 1, 4, 4, 4])])
def test_classes_of_equal_recall_have_equal_levels(strong_for, levels):
    found = made("level_by_recall", LevelByRecall(strong_for=strong_for, highest=5), counts=(500, 90, 20, 10, 5))
    found.observe(metrics([0.9, 0.4, 0.0, 0.0, 0.0]))
    assert found.classes().level.tolist() == levels


def test_a_constant_level_is_that_of_all_classes_with_images_in_every_epoch():
    found = made("constant_level", ConstantLevel(level=7), counts=(500, 0, 20))
    assert found.classes().level.tolist() == [7, 0, 7]
    found.observe(metrics([0.2, NAN, 0.9], wrong=[0.03, 0.0, 0.02]))
    assert found.classes().level.tolist() == [7, 0, 7]


def test_levels_of_classes_without_images_are_0():
    found = made("level_by_recall", LevelByRecall(strong_for="hard", highest=4), counts=(500, 0, 500, 500))
    found.observe(metrics([0.2, 0.1, 0.8, NAN]))
    assert found.classes().level.tolist() == [4, 0, 0, 0]


def test_back_off_follows_each_classs_share_of_the_false_positives():
    found = made("back_off", BackOff(start=5, tolerance=0.1, momentum=0.0))
    assert found.classes().level.tolist() == [5, 5, 5]
    found.observe(metrics([0.5] * 3, wrong=[0.02, 0.02, 0.02]))
    assert found.classes().level.tolist() == [5, 5, 5]
    found.observe(metrics([0.5] * 3, wrong=[0.02, 0.01, 0.01]))  # shares 0.5, 0.25, 0.25
    assert found.classes().level.tolist() == [4, 6, 6]
    found.observe(metrics([0.5] * 3, wrong=[0.0, 0.0, 0.0]))
    assert found.classes().level.tolist() == [5, 7, 7]


@pytest.mark.parametrize("name", [name for name in CONTROLLERS if name not in ("constant", "cuda")])
def test_a_saved_controller_goes_on_where_it_was(name):
    one, other = made(name), made(name)
    one.observe(metrics([0.2, 0.9, 0.8], wrong=[0.03, 0.01, 0.02]))
    other.load_state_dict(one.state_dict())
    for controller in (one, other):
        controller.observe(metrics([0.4, 0.3, 0.9], wrong=[0.01, 0.01, 0.02]))
    for value in ("weight", "level"):
        assert np.array_equal(getattr(one.classes(), value), getattr(other.classes(), value))
    with pytest.raises(ValueError, match="not those of these classes"):
        made(name, counts=(1, 1)).load_state_dict(one.state_dict())


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["controller=recall_weights"], "weight"),
        (["controller=level_by_recall", "augmentation=[flip,cuda]"], "level"),
    ],
)
def test_what_a_controller_sets_is_recorded_and_plotted(typed, tmp_path, tiny_words, words, value):
    words = [*tiny_words, *words, "training.epochs=3", "plots.png=true", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    run = tmp_path / "run"
    header, *rows = csv.reader((run / f"{value}s.csv").read_text().splitlines())
    assert header[0] == "epoch"
    assert [row[0] for row in rows] == ["1", "2", "3"]
    saved = checkpoint.load(run / "checkpoints" / "last.pt")["class_values"]
    assert np.array([row[1:] for row in rows], dtype=float) == pytest.approx(saved.numpy(), rel=1e-6)
    assert len(set(rows[0][1:])) == 1  # all classes alike, until something was observed
    assert len(set(rows[2][1:])) > 1
    assert (run / "report" / f"{value}_by_epoch.png").stat().st_size > 1000


def test_deferred_weights_are_equal_until_then_whoever_sets_them(typed, tmp_path, tiny_words):
    words = [*tiny_words, "controller=cdb", "class_weights.defer=0.5", "training.epochs=4", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    weights = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.pt")["class_values"]
    assert torch.equal(weights[:2], torch.ones_like(weights[:2]))
    assert not torch.equal(weights[2], torch.ones_like(weights[2]))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["controller=cdb", "dataset.validation=test"],
            "controller=cdb: is driven by validation images, which needs dataset.validation=holdout, not test",
        ),
        (
            ["controller=cdb", "loss=gml"],
            "controller=cdb: sets class weights, which loss=gml does not take; leave one out",
        ),
        (
            ["controller=level_by_recall"],
            "controller=level_by_recall: sets the levels of augmentation=cuda, which is not enabled; add it",
        ),
        (
            ["controller=cdb", "controller.recall_weights.power=2"],
            "controller.recall_weights.power=2.0: only with controller=recall_weights, here it is cdb",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(typed, tmp_path, tiny_words, words, line):
    answer = typed(tmp_path, "train", *tiny_words, *words)
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")
    assert not list(tmp_path.iterdir())
