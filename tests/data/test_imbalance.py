"""Long-tailed subsets are exactly those of LDAM-DRW."""

import hashlib

import numpy as np
import pytest

from cifar_imbalance.data.imbalance import class_counts, subset
from cifar_imbalance.errors import UsageError


def names(count):
    return [f"class_{number}" for number in range(count)]


# classes, images of each, profile, factor; then total, SHA-256 (16 hex digits) of the counts and of the kept ranks
PUBLISHED = [
    (100, 500, "exponential", 10, 19573, "7f990766cbb5e57b", "5906ba7310b91b5e"),
    (100, 500, "exponential", 50, 12608, "8f43f6eb10ed026f", "1bc82de2629e5cbd"),
    (100, 500, "exponential", 100, 10847, "a86899e02756da51", "f123ec136d44ab1b"),
    (100, 500, "exponential", 200, 9502, "7b521240327ba674", "36f76462dfbbe6f4"),
    (100, 500, "step", 100, 25250, "074b9cb51fadc231", "5fab75890a63c299"),
    (10, 5000, "exponential", 10, 20431, "b6c08295628c1c63", "2b3a8656bec514c6"),
    (10, 5000, "exponential", 50, 13996, "f802a0b00f5b6be0", "7bb90363b243a944"),
    (10, 5000, "exponential", 100, 12406, "720e505b6ae0ca4f", "8a54f5b6fa972295"),
    (10, 5000, "exponential", 200, 11203, "18a6f3435ffa1c78", "334c2d61143b39bf"),
    (10, 5000, "step", 100, 25250, "15765fb9bbc3e0a2", "9f6141e4cf23433a"),
]


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def legacy_ranks(counts, n_max):
    """The published procedure, literally."""
    np.random.seed(0)
    kept = []
    for count in counts:
        ranks = np.arange(n_max)
        np.random.shuffle(ranks)
        kept.append(ranks[:count])
    return kept


@pytest.mark.parametrize("classes, n_max, profile, factor, total, counts_hash, _", PUBLISHED)
def test_counts_are_the_published_ones(classes, n_max, profile, factor, total, counts_hash, _):
    counts = class_counts(profile, factor=factor, n_max=n_max, class_names=names(classes))
    assert counts.sum() == total
    assert digest(",".join(map(str, counts)).encode()) == counts_hash


@pytest.mark.parametrize("classes, n_max, profile, factor, _, __, ranks_hash", PUBLISHED)
def test_the_kept_images_are_the_published_ones(classes, n_max, profile, factor, _, __, ranks_hash):
    counts = class_counts(profile, factor=factor, n_max=n_max, class_names=names(classes))
    ranks = legacy_ranks(counts, n_max)
    assert digest(np.concatenate(ranks).astype("<i8").tobytes()) == ranks_hash
    labels = np.arange(classes * n_max) % classes  # class k's image of rank r is at r * classes + k
    kept = subset(labels, class_names=names(classes), profile=profile, factor=factor, subset_seed=0)
    expected = np.sort(np.concatenate([ranks[k] * classes + k for k in range(classes)]))
    assert np.array_equal(kept, expected)


def test_the_first_ranks_are_the_published_ones():
    ranks = legacy_ranks(class_counts("exponential", factor=100, n_max=500, class_names=names(100)), 500)
    assert ranks[0][:10].tolist() == [90, 254, 283, 445, 461, 15, 316, 489, 159, 153]
    assert ranks[2][:10].tolist() == [52, 34, 347, 492, 196, 233, 487, 246, 457, 199]
    assert ranks[99].tolist() == [348, 153, 363, 361, 299]


def test_counts_decrease_from_the_first_class_to_the_last():
    counts = class_counts("exponential", factor=100, n_max=5000, class_names=names(10))
    assert counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_step_keeps_all_images_of_the_first_half_of_the_classes_rounded_down():
    assert class_counts("step", factor=10, n_max=100, class_names=names(5)).tolist() == [100, 100, 10, 10, 10]


def test_kept_positions_are_sorted_int64():
    kept = subset(np.arange(200) % 2, class_names=names(2), profile="step", factor=10, subset_seed=0)
    assert kept.dtype == np.int64 and np.all(np.diff(kept) > 0)


def test_another_subset_seed_keeps_other_images():
    labels = np.arange(1000) % 10
    one, two = (
        subset(labels, class_names=names(10), profile="exponential", factor=10, subset_seed=seed).tolist()
        for seed in (0, 1)
    )
    assert len(one) == len(two) and one != two


def test_the_global_generator_is_unchanged():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    subset(np.arange(100) % 2, class_names=names(2), profile="step", factor=10, subset_seed=0)
    assert np.random.rand() == expected


def test_without_a_profile_all_images_are_kept():
    kept = subset(np.arange(6) % 2, class_names=names(2), profile="none", factor=100, subset_seed=0)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_class_with_fewer_images_than_its_count_keeps_them_all():
    labels = np.repeat([0, 1, 2], [100, 20, 100])
    kept = subset(labels, class_names=names(3), profile="exponential", factor=4, subset_seed=0)
    assert np.bincount(labels[kept]).tolist() == [100, 20, 25]  # the profile gives 100, 50, 25


def test_a_class_left_empty_is_rejected():
    with pytest.raises(UsageError, match=r"dataset\.imbalance\.factor=1000: class class_\d+ .* at most 500"):
        class_counts("exponential", factor=1000, n_max=500, class_names=names(100))
