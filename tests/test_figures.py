"""The command that plots a data set."""

from dataclasses import replace

import numpy as np
from PIL import Image

from cifar_imbalance.configuration.fields import Dataset
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.figures import draw

PLOTS = [f"{name}.{kind}" for name in ("augmented", "class_counts", "samples") for kind in ("pdf", "png")]


def test_a_data_set_is_plotted_without_training(tmp_path, typed):
    answer = typed(
        tmp_path, "figures", "dataset.imbalance.profile=exponential", "dataset.imbalance.factor=10", "output=f"
    )
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == PLOTS


def test_a_mistake_gives_a_one_line_error_and_leaves_no_files(tmp_path, typed):
    answer = typed(tmp_path, "figures", "dataset=cifar1")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    answer = typed(tmp_path, "figures", "augmentation.cutout.size_fraction=0.01")
    assert answer.err.startswith("cifar_imbalance.figures: augmentation.cutout.size_fraction=0.01: the square must be")
    assert list(tmp_path.iterdir()) == []


def test_real_images_are_plotted(tmp_path, typed, real_data):
    words = ["dataset=cifar10", f"dataset.root={real_data / 'cifar10'}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    answer = typed(tmp_path, "figures", *words, "output=f")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == PLOTS


def test_samples_cover_every_class_and_depend_on_the_seed():
    images = load_experiment_data(Dataset(name="digits", validation="none")).train
    chosen = draw._samples(images, 10, seed=0)
    assert images.labels[chosen].tolist() == np.repeat(np.arange(10), 10).tolist()
    assert np.array_equal(chosen, draw._samples(images, 10, seed=0))
    assert not np.array_equal(chosen, draw._samples(images, 10, seed=1))


def test_no_sample_is_shown_twice_and_a_small_class_has_empty_places():
    images = load_experiment_data(Dataset(name="digits", validation="none")).train
    few = replace(images.take(np.arange(30)), labels=np.repeat([0, 1, 1], 10))
    chosen = draw._samples(few, 15, seed=0)
    assert (chosen >= 0).reshape(len(images.class_names), 15).sum(axis=1)[:3].tolist() == [10, 15, 0]
    shown = chosen[chosen >= 0]
    assert len(set(shown.tolist())) == len(shown) == 25


def test_figures_are_a_papers_page_wide_at_the_chosen_resolution_without_pdf_if_so_wanted(tmp_path, typed):
    answer = typed(tmp_path, "figures", "plots.dpi=60", "plots.pdf=false", "output=f")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == PLOTS[1::2]
    with Image.open(tmp_path / "f" / "samples.png") as image:
        assert image.width <= 7 * 60


def test_with_many_classes_one_image_of_each_is_shown(tmp_path, typed):
    for split in ("train", "test"):
        for label in range(21):
            (tmp_path / "tree" / split / f"class {label}").mkdir(parents=True)
            image = Image.fromarray(np.full((8, 8, 3), 10 * label, np.uint8))
            image.save(tmp_path / "tree" / split / f"class {label}" / "0.png")
    words = ["dataset=image_folder", f"dataset.root={tmp_path / 'tree'}", "dataset.image_size=8"]
    answer = typed(
        tmp_path, "figures", *words, "dataset.validation=none", f"dataset.cache_dir={tmp_path / 'c'}", "output=f"
    )
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == PLOTS
