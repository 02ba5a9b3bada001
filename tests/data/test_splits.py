"""Validation images are held out class by class, by their own seed."""

import numpy as np
import pytest

from cifar_imbalance.data.splits import holdout, without_fold
from cifar_imbalance.errors import UsageError

UNEQUAL = np.repeat([0, 1, 2], [100, 60, 20])


def split(labels, **changes):
    arguments = {"class_count": 3, "fraction": 0.1, "balance": "balanced", "seed": 0, **changes}
    return holdout(labels, **arguments)


def test_every_image_is_in_one_of_the_two_sets():
    train, validation = split(UNEQUAL)
    assert sorted([*train, *validation]) == list(range(180))


def test_positions_are_sorted_int64():
    for positions in split(UNEQUAL):
        assert positions.dtype == np.int64 and np.all(np.diff(positions) > 0)


def test_balanced_holds_out_the_same_number_from_each_class():
    _, validation = split(UNEQUAL)
    assert np.bincount(UNEQUAL[validation]).tolist() == [6, 6, 6]


def test_proportional_holds_out_the_same_share_of_each_class():
    _, validation = split(UNEQUAL, balance="proportional")
    assert np.bincount(UNEQUAL[validation]).tolist() == [10, 6, 2]


@pytest.mark.parametrize("balance", ["balanced", "proportional"])
def test_every_class_has_at_least_one_validation_image(balance):
    _, validation = split(UNEQUAL, balance=balance, fraction=0.001)
    assert np.bincount(UNEQUAL[validation]).tolist() == [1, 1, 1]


def test_the_split_depends_only_on_its_seed():
    again, other = split(UNEQUAL, seed=0)[1], split(UNEQUAL, seed=1)[1]
    assert np.array_equal(split(UNEQUAL, seed=0)[1], again) and not np.array_equal(again, other)


def test_the_split_of_cifar_is_fixed():
    """A change here would change every run's validation images."""
    _, validation = split(np.repeat(np.arange(100), 500), class_count=100)
    assert len(validation) == 5000
    assert validation[:5].tolist() == [2, 4, 21, 22, 26]


def test_a_class_left_without_training_images_is_rejected():
    with pytest.raises(UsageError) as caught:
        split(UNEQUAL, fraction=0.4, class_names=["cat", "dog", "eel"])
    assert str(caught.value) == (
        "dataset.holdout_fraction=0.4, dataset.holdout_balance=balanced: 24 of the images of class eel would be held "
        "out, but it has 20 and must keep one for training"
    )


def test_a_class_of_one_image_is_rejected():
    with pytest.raises(UsageError, match="class 1 would be held out, but it has 1"):
        split(np.array([0, 0, 0, 1]), class_count=2, balance="proportional")


def test_each_image_is_in_one_fold_and_folds_are_stratified():
    names = ("cat", "dog", "eel")
    kept = [without_fold(UNEQUAL, folds=4, fold=fold, seed=0, class_names=names) for fold in range(4)]
    left_out = [sorted(set(range(180)) - set(positions)) for positions in kept]
    assert sorted(position for positions in left_out for position in positions) == list(range(180))
    assert [np.bincount(UNEQUAL[positions]).tolist() for positions in left_out] == [[25, 15, 5]] * 4


def test_a_class_that_would_lose_all_images_is_rejected():
    with pytest.raises(UsageError, match=r"dataset\.folds=2: without fold 1 class dog has no image left"):
        without_fold(np.array([0, 0, 1]), folds=2, fold=1, seed=0, class_names=("cat", "dog"))


def test_there_are_no_more_folds_than_images():
    with pytest.raises(UsageError, match=r"^dataset.folds=5: allowed is at most 4, the number of training images$"):
        without_fold(np.array([0, 0, 1, 1]), folds=5, fold=0, seed=0, class_names=("cat", "dog"))
