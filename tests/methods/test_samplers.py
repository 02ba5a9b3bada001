"""The order of an epoch: every image once, by key."""

import numpy as np
import pytest

from cifar_imbalance.errors import UsageError
from cifar_imbalance.methods.samplers import instance_order


def test_an_epoch_is_a_matrix_of_steps_and_batch():
    order = instance_order(0, 0, image_count=103, batch_size=10)
    assert order.shape == (10, 10)
    assert order.dtype == np.int64


def test_no_image_comes_twice_and_the_incomplete_batch_is_dropped():
    order = instance_order(0, 0, image_count=103, batch_size=10)
    assert len(np.unique(order)) == 100
    assert order.min() >= 0 and order.max() < 103


def test_where_batches_divide_the_images_every_image_comes():
    assert sorted(instance_order(0, 0, image_count=100, batch_size=10).ravel()) == list(range(100))


def test_the_order_depends_on_seed_and_epoch():
    def order(seed, epoch):
        return instance_order(seed, epoch, image_count=50, batch_size=10)

    assert np.array_equal(order(1, 2), order(1, 2))
    assert not np.array_equal(order(1, 2), order(1, 3))
    assert not np.array_equal(order(1, 2), order(2, 2))


def test_one_batch_of_all_images_is_allowed():
    assert instance_order(0, 0, image_count=10, batch_size=10).shape == (1, 10)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UsageError, match=r"training.batch_size=32: .*10"):
        instance_order(0, 0, image_count=10, batch_size=32)
