"""The order of an epoch, by key: which images, and how often those of each class."""

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import Sampler
from cifar_imbalance.methods.samplers import SAMPLERS, sample, steps_per_epoch

LABELS = np.repeat(np.arange(4), [640, 320, 32, 8])  # class 3 has 8 images of 1000
COUNTS = np.bincount(LABELS)


def order(labels=LABELS, name="instance", seed=0, epoch=0, epochs=10, batch_size=10, defer=0.0):
    settings = Sampler(name=name, defer=defer)
    return sample(labels, settings, seed=seed, epoch=epoch, epochs=epochs, batch_size=batch_size)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_is_a_matrix_of_steps_and_batch_and_drops_the_incomplete_batch(name):
    found = order(LABELS[:103], name)
    assert found.shape == (steps_per_epoch(103, 10), 10) == (10, 10)
    assert found.dtype == np.int64
    assert found.min() >= 0 and found.max() < 103


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_order_depends_only_on_seed_and_epoch(name):
    def of(seed, epoch):
        return order(name=name, seed=seed, epoch=epoch)

    assert np.array_equal(of(1, 2), of(1, 2))
    assert not np.array_equal(of(1, 2), of(1, 3))
    assert not np.array_equal(of(1, 2), of(2, 2))


def test_instance_sampling_draws_every_image_at_most_once():
    assert len(np.unique(order(LABELS[:103]))) == 100
    assert sorted(order().ravel()) == list(range(1000))


def test_one_batch_of_all_images_is_allowed():
    assert order(LABELS[:10]).shape == (1, 10)


ROOTS = np.sqrt([640, 320, 32, 8]) / np.sqrt([640, 320, 32, 8]).sum()


@pytest.mark.parametrize(
    ("name", "epoch", "expected"),
    [
        ("square_root", 0, ROOTS),
        ("class_balanced", 0, [0.25] * 4),
        ("progressively_balanced", 0, COUNTS / 1000),
        ("progressively_balanced", 5, (COUNTS / 1000 + 0.25) / 2),
        ("progressively_balanced", 9, 0.1 * COUNTS / 1000 + 0.9 * 0.25),
    ],
)
def test_the_drawn_classes_follow_the_law(name, epoch, expected):
    """And within a class every image is as likely."""
    drawn = np.concatenate([order(name=name, epoch=epoch, seed=seed).ravel() for seed in range(40)])
    assert np.bincount(LABELS[drawn], minlength=4) / len(drawn) == pytest.approx(expected, abs=0.01)
    of_the_smallest = np.bincount(drawn, minlength=1000)[-8:] / len(drawn)
    assert of_the_smallest == pytest.approx([expected[3] / 8] * 8, abs=0.004)


@pytest.mark.parametrize("name", SAMPLERS)
def test_classes_without_images_are_never_drawn(name):
    assert SAMPLERS[name](np.array([9, 0, 1]), 0.5)[1] == 0
    drawn = order(np.repeat([0, 2], [90, 10]), "class_balanced")
    assert np.mean(drawn >= 90) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", SAMPLERS)
def test_probabilities_add_up_to_1(name):
    assert SAMPLERS[name](COUNTS, 0.3).sum() == pytest.approx(1)


def test_a_deferred_sampler_is_instance_first():
    deferred = [order(name="class_balanced", epoch=epoch, defer=0.8) for epoch in range(10)]
    instance = [order(epoch=epoch) for epoch in range(10)]
    assert [np.array_equal(a, b) for a, b in zip(deferred, instance, strict=True)] == [True] * 8 + [False] * 2
