"""CUDA's levels: up where augmented images are recognised, down where they are not."""

import json

import numpy as np
import pytest

from cifar_imbalance.augment.strong import HIGHEST_LEVEL
from cifar_imbalance.configuration.fields import Augmentation, Cuda, CudaLevels
from cifar_imbalance.configuration.fields import Controller as Settings
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controller import Training
from cifar_imbalance.methods.controllers import CONTROLLERS

COUNTS = np.array([40, 20, 5, 0])
LABELS = np.repeat(np.arange(4), COUNTS)
IMAGES = np.broadcast_to(LABELS[:, None, None, None] * 60, (65, 8, 8, 3)).astype(np.uint8)


def controller(levels=(0, 0, 0, 0), threshold=0.6, draws=10):
    classes = Classes(COUNTS, np.ones(4), np.array(levels))
    return CONTROLLERS["cuda"](classes, Settings(name="cuda", cuda=CudaLevels(draws=draws, threshold=threshold)))


def begin(found, classify, epoch=0):
    found.begin_epoch(Training(0, epoch, IMAGES, LABELS, Augmentation(cuda=Cuda(table="monotone")), classify))
    return found.classes().level.tolist()


def test_a_class_that_is_recognised_at_every_level_rises_and_others_fall():
    found = controller((0, 3, 2, 0))
    sizes = []

    def all_right_but_class_1(images):
        sizes.append(len(images))
        labels = np.concatenate([np.full(10, 0), np.full(100, 1), np.full(60, 2)])
        return np.where(labels == 1, 3, labels)

    assert begin(found, all_right_but_class_1) == [1, 2, 3, 0]
    assert sizes == [10 + 10 * (1 + 2 + 3 + 4) + 10 * (1 + 2 + 3)]  # T (l + 1) at each level l


def test_one_level_below_the_threshold_is_enough_to_fall():
    found = controller((2, 0, 0, 0))

    def wrong_at_level_1(images):
        answers = np.concatenate([np.full(60, 0), np.full(10, 1), np.full(10, 2)])
        answers[10:19] = 3  # 9 of 20 wrong at level 1: 0.55 right
        return answers

    assert begin(found, wrong_at_level_1) == [1, 1, 1, 0]


def test_exactly_the_threshold_is_not_enough():
    answers = np.concatenate([[0] * 6 + [3] * 4, np.full(10, 1), np.full(10, 2)])
    assert begin(controller(), lambda images: answers) == [0, 1, 1, 0]


@pytest.mark.parametrize(("right", "expected"), [(True, HIGHEST_LEVEL), (False, HIGHEST_LEVEL - 1)])
def test_levels_stay_within_their_range(right, expected):
    found = controller((HIGHEST_LEVEL, 0, 0, 0))
    sizes = 10 * sum(range(1, HIGHEST_LEVEL + 2)), 10, 10
    answers = np.repeat([0, 1, 2] if right else [3, 3, 3], sizes)
    assert begin(found, lambda images: answers)[:2] == [expected, int(right)]


def test_images_at_level_0_are_as_they_are_and_draws_are_keyed():
    seen = []
    for epoch in (0, 0, 1):
        begin(controller((3, 0, 0, 0)), lambda images: seen.append(images) or np.zeros(len(images), dtype=int), epoch)
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])
    assert (seen[0][:10] == 0).all()  # level 0 of class 0
    assert (seen[0][10:100] != 0).any()


def test_the_levels_are_in_the_state_and_others_are_refused():
    found = controller((3, 1, 0, 0))
    other = controller()
    other.load_state_dict(found.state_dict())
    assert other.classes().level.tolist() == [3, 1, 0, 0]
    state = found.state_dict()
    state["levels"][0] = 11
    with pytest.raises(ValueError, match="its levels are not those of these classes"):
        other.load_state_dict(state)


def test_a_run_raises_the_levels_of_what_it_learns(typed, tmp_path, tiny_words):
    words = [*tiny_words, "augmentation=cuda", "controller=cuda", "training.epochs=6", "hydra.run.dir=run"]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err
    levels = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.pt")["controller"]["levels"]
    assert levels.max() > 0
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "augmentation=cuda",
            "augmentation=cuda: its levels come from a controller, not constant; "
            "allowed are cuda, constant_level, level_by_recall, back_off",
        ),
        ("controller=cuda", "controller=cuda: sets the levels of augmentation=cuda, which is not enabled; add it"),
    ],
)
def test_operator_and_controller_need_each_other(typed, tmp_path, tiny_words, word, line):
    answer = typed(tmp_path, "train", *tiny_words, word)
    assert answer.err == f"train.py: {line}\n"
