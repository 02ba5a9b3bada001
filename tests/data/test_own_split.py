"""A folder of CLASS/IMAGE without train/ and test/ is divided by a seed of its own, class by class."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from cifar_imbalance.configuration.fields import Dataset
from cifar_imbalance.configuration.image_folder import has_splits
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.data.image_sets import IMAGE_SETS
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions

HOSTILE = '<b>&"x'
SIZES = {HOSTILE: 20, "Käfer": 10, "a b": 5}


def save(path, number):
    """No two images alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make(root, sizes=SIZES):
    for place, (name, size) in enumerate(sizes.items()):
        for number in range(size):
            save(root / name / f"{number:02}.png", 100 * place + number)
    return root


@pytest.fixture
def load(tmp_path):
    def load(root="images", **changes):
        return IMAGE_SETS["image_folder"](
            Dataset(name="image_folder", root=str(tmp_path / root), cache_dir=str(tmp_path / "cache"), **changes)
        )

    return load


def test_a_fifth_of_each_class_are_test_images_whatever_the_classes_are_called(tmp_path, load):
    make(tmp_path / "images")
    train, test, notes = load()
    assert train.class_names == test.class_names == (HOSTILE, "Käfer", "a b")
    assert train.class_counts.tolist() == [16, 8, 4]
    assert test.class_counts.tolist() == [4, 2, 1]
    assert not set(train.hashes) & set(test.hashes)
    assert sorted([*train.files, *test.files]) == sorted(
        f"{name}/{number:02}.png" for name, size in SIZES.items() for number in range(size)
    )
    assert notes == []


def test_the_split_is_fixed(tmp_path, load):
    """A change here would change the test images of every such run."""
    make(tmp_path / "images", {"a": 20, "b": 10})
    assert load()[1].files == ("a/02.png", "a/06.png", "a/10.png", "a/12.png", "b/04.png", "b/05.png")


def test_the_split_depends_on_its_seed_and_on_no_other(tmp_path, load):
    make(tmp_path / "images")
    first = load()[1].files
    assert load(split_seed=1)[1].files == first
    assert load(test_seed=1)[1].files != first
    assert load(test_seed=1)[1].class_counts.tolist() == [4, 2, 1]
    assert load(test_fraction=0.5)[1].class_counts.tolist() == [10, 5, 2]


def test_the_order_in_which_the_file_system_lists_does_not_matter(tmp_path, load, monkeypatch):
    make(tmp_path / "images")
    first = load()
    scandir = os.scandir

    class Backwards:
        def __init__(self, folder):
            self.folder = folder

        def __enter__(self):
            with scandir(self.folder) as entries:
                return iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    again = load()
    for one, other in zip(first[:2], again[:2], strict=True):
        assert one.files == other.files
        assert np.array_equal(one.hashes, other.hashes)


def test_an_accent_stored_as_a_character_of_its_own_changes_nothing(tmp_path, load):
    """As macOS may do: the order of "Käfer" and "Kz" would be another."""
    names = ["Kz", "Käfer", "a"]
    make(tmp_path / "images", dict.fromkeys(names, 10))
    make(tmp_path / "moved", {unicodedata.normalize("NFD", name): 10 for name in names})
    here, there = load(), load("moved")
    assert here[0].class_names == there[0].class_names == ("Kz", "Käfer", "a")
    for one, other in zip(here[:2], there[:2], strict=True):
        assert np.array_equal(one.hashes, other.hashes)


def test_two_spellings_of_a_class_are_refused(tmp_path, load):
    make(tmp_path / "images", {"Käfer": 5, unicodedata.normalize("NFD", "Käfer"): 5, "a": 5})
    with pytest.raises(UsageError, match="two class folders are called Käfer, in two spellings of Unicode"):
        load()


def test_validation_images_are_held_out_of_the_rest_and_the_record_says_how(tmp_path):
    root = make(tmp_path / "images")
    dataset = Dataset(name="image_folder", root=str(root), cache_dir=str(tmp_path / "cache"), test_seed=3)
    data = load_experiment_data(dataset)
    record = data.record()
    assert record["counts"] == {"train": [15, 7, 3], "validation": [1, 1, 1], "test": [4, 2, 1]}
    assert (record["test_fraction"], record["test_seed"]) == (0.2, 3)


@pytest.mark.parametrize(
    ("sizes", "changes", "line"),
    [
        (
            {"cat": 5, "dog": 1},
            {},
            "dataset.test_fraction=0.2: 1 of the images of class dog would be test images, but it has 1 and must keep "
            "one for training",
        ),
        (
            {"cat": 5, "dog": 2},
            {"test_fraction": 0.9},
            "dataset.test_fraction=0.9: 2 of the images of class dog would be test images, but it has 2 and must keep "
            "one for training",
        ),
        ({"cat": 5}, {}, "dataset.root=ROOT: at least 2 class folders are needed in ROOT, found only cat"),
    ],
)
def test_too_few_images_or_classes_are_refused(tmp_path, load, sizes, changes, line):
    root = make(tmp_path / "images", sizes)
    with pytest.raises(UsageError) as caught:
        load(**changes)
    assert str(caught.value) == line.replace("ROOT", str(root))
    assert not (tmp_path / "cache").exists()


def test_classes_may_be_called_train_and_test(tmp_path, load):
    make(tmp_path / "images", {"train": 5, "test": 5, "tram": 5})
    assert not has_splits(tmp_path / "images")
    assert load()[0].class_names == ("test", "train", "tram")


def test_a_tree_with_one_of_the_two_folders_is_not_divided(tmp_path, load):
    make(tmp_path / "images" / "train", {"cat": 5, "dog": 5})
    assert has_splits(tmp_path / "images")
    with pytest.raises(UsageError, match=r"there is no folder .*images/test; train/CLASS and test/CLASS are expected"):
        load()


def test_a_run_records_how_its_images_were_divided(typed, tiny_words, tmp_path):
    make(tmp_path / "images", {HOSTILE: 20, "Käfer": 20})
    words = [word for word in tiny_words if not word.startswith("training.batch_size")]
    own = ["dataset=image_folder", "dataset.root=images", "dataset.cache_dir=cache", "dataset.imbalance.profile=none"]
    words += [*own, "training.batch_size=8", "dataset.test_seed=1", "dataset.test_fraction=0.25", "hydra.run.dir=run"]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "\n  test_fraction: 0.25\n  test_seed: 1\n" in config
    again = typed(tmp_path, "evaluate", "ckpt=run", "dataset.test_seed=0")
    line = "evaluate.py: ckpt=run: dataset.test_seed is 1 in the run and 0 here; the run keeps its own\n"
    assert (again.code, again.err) == (2, line)


def test_of_a_tree_with_test_images_a_share_has_no_effect(typed, tmp_path):
    for split in ("train", "test"):
        make(tmp_path / "images" / split, {"cat": 5, "dog": 5})
    words = ["dataset=image_folder", "dataset.root=images", "dataset.test_fraction=0.3"]
    answer = typed(tmp_path, "train", *words)
    line = "train.py: dataset.test_fraction=0.3: has no effect: dataset.root=images has test images of its own\n"
    assert (answer.code, answer.err) == (2, line)


def test_a_sweep_over_folders_of_images_trains_on_each(typed, tmp_path, tiny_words):
    make(tmp_path / "images")
    make(tmp_path / "others", {name: size + 4 for name, size in SIZES.items()})
    own = ["dataset=image_folder", "dataset.root=images,others", "dataset.cache_dir=cache", "training.batch_size=8"]
    answer = typed(tmp_path, "train", "-m", *tiny_words, *own, "hydra.sweep.dir=sweep")
    assert answer.code == 0, answer.err
    assert "is finished; nothing was done" not in answer.out
    sizes = {len(Predictions.load(file).labels) for file in tmp_path.glob("sweep/*/predictions/test.npz")}
    assert len(sizes) == 2
    again = typed(tmp_path, "train", "-m", *tiny_words, *own, "hydra.sweep.dir=sweep")
    assert again.out.count("is finished; nothing was done") == 2


@pytest.mark.parametrize("name", ["val", "valid"])
def test_a_folder_of_validation_images_is_named_and_not_read(tmp_path, load, name):
    for split in ("train", "test", name):
        make(tmp_path / "images" / split)
    _, _, notes = load()
    assert notes == [
        f"{name}/ is not read: validation images are held out of train/ (dataset.validation=holdout)",
    ]


def test_validation_images_do_not_take_the_place_of_test_images(tmp_path, typed):
    for split in ("train", "val"):
        make(tmp_path / "images" / split)
    answer = typed(tmp_path, "train", "dataset=image_folder", "dataset.root=images")
    line = "dataset.root=images: it has no folder test/ (test/CLASS/IMAGE is expected; not read: val/)"
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")
