"""An ensemble's members: what differs between them, and how many train at a time."""

from dataclasses import replace

import pytest

from cifar_imbalance.configuration.fields import Augmentation, Cutout, Dataset, Ensemble, Flip, Model, TrainConfig
from cifar_imbalance.engine.members import member_configs, workers_and_threads

CONFIG = TrainConfig(
    experiment="e",
    seed=2,
    dataset=Dataset(name="digits"),
    model=Model(name="m"),
    augmentation=Augmentation(flip=Flip(), cutout=Cutout()),
)


def members(**ensemble):
    return member_configs(replace(CONFIG, ensemble=Ensemble(**ensemble)))


def test_members_differ_only_by_seed_and_share_the_split():
    found = members(members=3)
    assert [member.seed for member in found] == [6, 7, 8]
    assert [replace(member, seed=2) for member in found] == [CONFIG] * 3


def test_ensembles_with_different_seeds_have_different_members():
    seeds = [m.seed for seed in range(4) for m in member_configs(replace(CONFIG, seed=seed, ensemble=Ensemble(5)))]
    assert seeds == list(range(20))


def test_members_may_differ_by_model_weights_and_augmentation():
    found = members(members=2, models=["a", "b"], weights=["a.pth", "b.pth"], augmentations=[[], ["cutout"]])
    assert [(m.model.name, m.model.weights) for m in found] == [("a", "a.pth"), ("b", "b.pth")]
    assert [(m.augmentation.flip, m.augmentation.cutout) for m in found] == [(None, None), (None, Cutout())]


def test_members_may_differ_by_data_fold():
    found = members(members=3, folds=True)
    assert [(m.dataset.folds, m.dataset.without_fold) for m in found] == [(3, 0), (3, 1), (3, 2)]


@pytest.mark.parametrize(
    "count, workers, cores, expected",
    [
        (5, "auto", 2, (3, 1)),  # three share two cores, then two: no core is ever idle
        (4, "auto", 2, (2, 1)),
        (2, "auto", 2, (2, 1)),
        (5, "auto", 1, (1, 1)),
        (5, "auto", 5, (5, 1)),
        (5, "auto", 16, (5, 3)),
        (2, "auto", 16, (2, 8)),
        (5, "2", 2, (2, 1)),
        (5, "1", 2, (1, 2)),
        (2, "8", 2, (2, 1)),
    ],
)
def test_cores_are_divided_among_the_members(count, workers, cores, expected):
    assert workers_and_threads(Ensemble(members=count, workers=workers), cores=cores) == expected
