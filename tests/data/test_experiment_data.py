"""Training, validation and test sets: held out first, then subsampled to a long tail, and recorded."""

import hashlib
import json

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import Dataset, Imbalance
from cifar_imbalance.data import experiment_data
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.data.imbalance import subset
from cifar_imbalance.errors import UsageError


def names(count):
    return [f"class_{number}" for number in range(count)]


def image_set(sizes, *, first_hash=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    numbers = np.arange(len(labels))
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 2, 2, 3), dtype=np.uint8)
    return ImageSet(
        images, labels, (numbers + first_hash).astype(np.uint64), numbers, tuple("abcd"[: len(sizes)]), "made up"
    )


@pytest.fixture
def load(monkeypatch):
    """The data of an experiment on a synthetic set of `sizes` training images of each class and 5 test images."""

    def load(sizes=(40, 40, 40, 40), **changes):
        sets = image_set(sizes), image_set([5] * len(sizes), first_hash=1000), ["a note"]
        monkeypatch.setitem(experiment_data.IMAGE_SETS, "image_folder", lambda dataset: sets)
        return load_experiment_data(Dataset(name="image_folder", **changes))

    return load


TAIL = Imbalance(profile="exponential", factor=10.0)


def test_a_tenth_is_held_out_for_validation_by_default(load):
    data = load()
    assert np.bincount(data.train.labels).tolist() == [36] * 4
    assert np.bincount(data.validation.labels).tolist() == [4] * 4
    assert not set(data.train.indices) & set(data.validation.indices)


def test_the_test_images_may_be_evaluated_every_epoch(load):
    data = load(validation="test")
    assert data.validation is data.test and len(data.train.labels) == 160


def test_there_may_be_no_validation_images(load):
    data = load(validation="none")
    assert data.validation is None and len(data.train.labels) == 160


def test_validation_images_are_held_out_before_subsampling(load):
    data = load(imbalance=TAIL)
    assert np.bincount(data.validation.labels).tolist() == [4] * 4
    assert np.bincount(data.train.labels).tolist() == [36, 16, 7, 3]


def test_subsampling_does_not_change_the_validation_images(load):
    assert np.array_equal(load().validation.indices, load(imbalance=TAIL).validation.indices)


def test_without_a_holdout_the_subset_is_the_published_one(load):
    data = load(validation="none", imbalance=TAIL)
    labels = np.repeat(np.arange(4), 40)
    expected = subset(labels, class_names=names(4), profile="exponential", factor=10.0, subset_seed=0)
    assert np.array_equal(data.train.indices, expected)


def test_imbalanced_classes_are_noted_when_subsampling(load):
    data = load(sizes=(40, 20, 40), validation="none", imbalance=TAIL)
    assert data.notes[0] == "a note" and "classes have 20 to 40 training images" in data.notes[1]
    assert load(sizes=(40, 20, 40)).notes == ["a note"]


def test_adding_notes_does_not_change_the_image_set(load):
    assert load(sizes=(40, 20, 40), imbalance=TAIL).notes[:1] == load(sizes=(40, 20, 40)).notes


def test_a_class_too_small_for_the_holdout_is_rejected_by_name(load):
    with pytest.raises(UsageError, match="class b would be held out, but it has 2"):
        load(sizes=(40, 2, 40))


def test_the_record_contains_the_class_counts(load):
    counts = load(imbalance=TAIL).record()["counts"]
    assert counts == {"train": [36, 16, 7, 3], "validation": [4] * 4, "test": [5] * 4}


def test_the_record_hashes_images_and_then_labels(load):
    data = load()
    for name in ("train", "validation", "test"):
        images = getattr(data, name)
        expected = hashlib.sha256(images.images.tobytes() + images.labels.astype("<i8").tobytes()).hexdigest()
        assert data.record()["sha256"][name] == expected


def test_the_record_hashes_the_kept_indices(load):
    data = load(imbalance=TAIL)
    expected = hashlib.sha256(data.train.indices.astype("<i8").tobytes()).hexdigest()
    assert data.record()["train_indices_sha256"] == expected


def test_the_record_of_validation_depends_on_dataset_validation(load):
    for validation in ("test", "none"):  # test images are never called validation
        record = load(validation=validation).record()
        assert record["sha256"]["validation"] is None and record["counts"]["validation"] is None
    assert load(validation="holdout").record()["counts"]["validation"] is not None


def test_the_record_is_json_and_names_source_and_seeds(load):
    record = json.loads(json.dumps(load(split_seed=3, imbalance=TAIL).record()))
    assert record["source"] == "made up" and record["image_shape"] == [2, 2, 3]
    assert record["class_names"] == ["a", "b", "c", "d"] and record["notes"] == ["a note"]
    assert record["validation"] == "holdout" and record["split_seed"] == 3
    assert record["imbalance"] == {"profile": "exponential", "factor": 10.0, "subset_seed": 0}


def test_a_long_tailed_cifar_10_from_files(real_data, tmp_path):
    dataset = Dataset(
        name="cifar10",
        root=str(real_data / "cifar10"),
        cache_dir=str(tmp_path / "cache"),
        validation="none",
        imbalance=Imbalance(profile="exponential", factor=10.0),
    )
    data = load_experiment_data(dataset)
    sizes = np.bincount(data.train.labels).tolist()
    assert data.train.class_names[0] == "airplane" and sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 10 * sizes[-1] and len(set(data.test.labels.tolist())) == 10


def test_the_manifest_lists_the_images_that_are_trained_on_with_their_hash(load):
    data = load(dataset_sizes := (40, 30, 20, 10), validation="none", imbalance=Imbalance(profile="step", factor=4))
    rows = [line.split(",") for line in data.train_images_csv().splitlines()]
    assert rows[0] == ["index", "class"]
    indices, labels = (np.array([int(row[k]) for row in rows[1:]], dtype="<i8") for k in (0, 1))
    assert np.array_equal(indices, data.train.indices)
    assert np.array_equal(labels, np.repeat(np.arange(4), dataset_sizes)[indices])
    assert hashlib.sha256(indices.tobytes()).hexdigest() == data.record()["train_indices_sha256"]
