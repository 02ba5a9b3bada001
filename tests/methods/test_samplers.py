"""The order of an epoch, by key: which images, and how often those of each class."""

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import Sampler
from cifar_imbalance.methods.samplers import SAMPLERS, class_balanced, instance, steps_per_epoch

LABELS = np.repeat(np.arange(4), [640, 320, 32, 8])  # class 3 has 8 images of 1000


def order(labels=LABELS, seed=0, epoch=0, batch_size=10, sampler=instance):
    return sampler(labels, seed, epoch, batch_size, Sampler())


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_is_a_matrix_of_steps_and_batch_and_drops_the_incomplete_batch(name):
    found = order(LABELS[:103], sampler=SAMPLERS[name])
    assert found.shape == (steps_per_epoch(103, 10), 10) == (10, 10)
    assert found.dtype == np.int64
    assert found.min() >= 0 and found.max() < 103


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_order_depends_only_on_seed_and_epoch(name):
    def of(seed, epoch):
        return order(seed=seed, epoch=epoch, sampler=SAMPLERS[name])

    assert np.array_equal(of(1, 2), of(1, 2))
    assert not np.array_equal(of(1, 2), of(1, 3))
    assert not np.array_equal(of(1, 2), of(2, 2))


def test_instance_sampling_draws_every_image_at_most_once():
    assert len(np.unique(order(LABELS[:103]))) == 100
    assert sorted(order().ravel()) == list(range(1000))


def test_one_batch_of_all_images_is_allowed():
    assert order(LABELS[:10]).shape == (1, 10)


def test_class_balanced_draws_classes_and_their_images_uniformly():
    drawn = np.concatenate([order(epoch=epoch, sampler=class_balanced).ravel() for epoch in range(40)])
    by_class = np.bincount(LABELS[drawn], minlength=4) / len(drawn)
    assert by_class == pytest.approx([0.25] * 4, abs=0.01)
    of_the_smallest = np.bincount(drawn, minlength=1000)[-8:] / len(drawn)
    assert of_the_smallest == pytest.approx([0.25 / 8] * 8, rel=0.1)


def test_class_balanced_skips_classes_without_images():
    drawn = order(np.repeat([0, 2], [90, 10]), sampler=class_balanced)
    assert np.mean(drawn >= 90) == pytest.approx(0.5, abs=0.15)
