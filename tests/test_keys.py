"""A draw depends on its key and on nothing else."""

import numpy as np

from cifar_imbalance import keys


def test_equal_keys_give_equal_draws():
    assert np.array_equal(keys.generator(3, "order", 5).random(8), keys.generator(3, "order", 5).random(8))


def test_draws_depend_on_seed_purpose_and_each_index():
    drawn = {
        keys.generator(*key).integers(2**62)
        for key in [
            (0, "order", 1),
            (1, "order", 1),
            (0, "noise", 1),
            (0, "order", 2),
            (0, "order", 1, 0),
            (0, "order"),
        ]
    }
    assert len(drawn) == 6


def test_draws_are_the_same_in_every_version():
    assert keys.generator(0, "order", 0).permutation(10).tolist() == [8, 9, 5, 1, 6, 7, 4, 0, 2, 3]
    assert keys.integer(0, "noise", 0, 0) == 1232209237
