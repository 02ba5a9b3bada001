"""evaluate.py images=FOLDER: a run, an ensemble or a list of runs on test images that are not the run's own."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from cifar_imbalance.configuration.fields import Adjust
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.evidence.adjustment import Given, fit
from cifar_imbalance.evidence.combination import combine
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder

FIRST = 40  # test images of the run, as files
ABSENT = "5"  # a class without images


@pytest.fixture(scope="module")
def own_test(tiny_run):
    return load_experiment_data(RunFolder(tiny_run).read_config().dataset).test


@pytest.fixture(scope="module")
def other(tiny_run, own_test, tmp_path_factory):
    """Test images of the run, turned by a quarter, in test/CLASS: all classes but one, in folders of the user's own."""
    folder = tmp_path_factory.mktemp("images") / "a (1)"
    for number in range(len(own_test.labels)):
        name = own_test.class_names[own_test.labels[number]]
        if name != ABSENT and number % 5 == 0:
            (folder / "test" / name).mkdir(parents=True, exist_ok=True)
            turned = np.rot90(own_test.images[number]).copy()
            Image.fromarray(turned).resize((40, 30)).save(folder / "test" / name / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def flat(own_test, tmp_path_factory):
    """The run's first test images as they are, in CLASS."""
    folder = tmp_path_factory.mktemp("flat")
    for number in range(FIRST):
        name = own_test.class_names[own_test.labels[number]]
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(own_test.images[number]).save(folder / name / f"{number:03}.png")
    return folder


def evaluated(typed, cwd, *words):
    answer = typed(cwd, "evaluate", *words, "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    summary = json.loads((cwd / "out" / "report" / "summary.json").read_text())
    return Predictions.load(cwd / "out" / "predictions" / "test.npz"), summary, answer.out


def by_file(predictions):
    order = np.argsort([name.rpartition("/")[2] for name in predictions.files])
    return predictions.take(order)


def test_the_logits_are_those_that_the_run_gave_these_images(typed, tiny_run, flat, tmp_path):
    found, summary, _ = evaluated(typed, tmp_path, f"ckpt={tiny_run}", f"images={flat}")
    saved = Predictions.load(tiny_run / "predictions" / "test.npz")
    of_first = by_file(found)
    assert np.array_equal(of_first.hashes, saved.hashes[:FIRST])
    assert np.array_equal(of_first.labels, saved.labels[:FIRST])
    assert of_first.logits == pytest.approx(saved.logits[:FIRST], abs=1e-5)
    assert summary["images_of_the_run"] == {"test": FIRST, "validation": 0}
    assert summary["test_images"].startswith(f"the run's own: {FIRST} images of ")


def test_a_class_without_images_is_left_out_and_named(typed, tiny_run, other, tmp_path):
    found, summary, out = evaluated(typed, tmp_path, f"ckpt={tiny_run}", f"images={other}")
    recalls = [
        float((found.predicted[found.labels == k] == k).mean()) for k in range(10) if found.class_names[k] != ABSENT
    ]
    assert summary["absent_classes"] == [ABSENT]
    assert summary["macro_recall"] == pytest.approx(np.mean(recalls), abs=1e-6)
    assert summary["accuracy"] == pytest.approx(float((found.predicted == found.labels).mean()))
    text = (
        f"other than the run's: {len(found.labels)} images of 9 of the run's 10 classes, class folders in {other}; "
        "classes without images are left out of all means: 5; precision and F1 depend on which classes have images"
    )
    assert summary["test_images"] == text
    assert summary["images"] == str(other)
    assert text in " ".join(out.split())
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    notice = re.search(r'<p class="notice">(.*?)</p>', page)[1]
    assert notice.startswith("The test images are other than the run&#39;s: ")
    assert (tmp_path / "out" / "report" / "gallery.png").is_file()


def test_the_runs_own_images_are_not_read(typed, tiny_run, flat, tmp_path, monkeypatch):
    monkeypatch.setattr("cifar_imbalance.data.experiment_data.IMAGE_SETS", {})
    found, summary, _ = evaluated(typed, tmp_path, f"ckpt={tiny_run}/checkpoints/last.pt", f"images={flat}")
    assert len(found.labels) == summary["n_images"] > 0


def test_a_list_of_runs_and_an_adjustment(typed, tiny_run, tiny_words, flat, tmp_path):
    assert typed(tmp_path, "train", *tiny_words, "seed=1", "hydra.run.dir=other").code == 0
    runs = [tiny_run, tmp_path / "other"]
    test, held_out = (
        [Predictions.load(run / "predictions" / f"{split}.npz") for run in runs] for split in ("test", "validation")
    )
    validation = combine(held_out, "mean_logit")
    adjustment = fit(Adjust(name="temperature"), Given(validation, test[0].train_images))
    expected = adjustment(combine(test, "mean_logit")).logits[:FIRST]
    words = [f"ckpt=[{runs[0]},{runs[1]}]", f"images={flat}", "ensemble.combine=mean_logit", "adjust=temperature"]
    found, summary, _ = evaluated(typed, tmp_path, *words)
    assert softmax(by_file(found).logits, 1) == pytest.approx(softmax(expected, 1), abs=1e-4)
    assert (summary["members"], summary["images"]) == (2, str(flat))
    assert "test_set_use" not in summary


def test_what_does_not_go_together_or_is_no_test_set_is_one_line(typed, tiny_run, flat, tmp_path):
    (tmp_path / "none" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "a.png").write_bytes(b"not a picture")
    (tmp_path / "cats" / "cat").mkdir(parents=True)
    (tmp_path / "weights.pt").write_bytes(b"")
    given = f"images={flat}"
    before = sorted(tmp_path.rglob("*"))
    for words, line in {
        (
            "images=nowhere",
        ): "images=nowhere: there is no such folder; CLASS/IMAGE or test/CLASS/IMAGE is expected in it",
        ("images=none",): f"images={tmp_path}/none: there are no images in it as CLASS/IMAGE; without labels: ",
        ("images=broken",): f"images: cannot read {tmp_path}/broken/1/a.png: its content is no image, "
        "or one that Pillow does not know\n",
        ("images=weights.pt",): "images=weights.pt: is a file; name a folder, CLASS/IMAGE or test/CLASS/IMAGE "
        "is expected in it (without labels: python -m cifar_imbalance.predict ckpt=RUN images=weights.pt)\n",
        (
            "images=cats",
        ): f"images={tmp_path}/cats: class cat is none of the run's, which are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        (given, "split=validation"): f"split=validation: {given} are test images; leave one of them out",
        (
            given,
            f"reference={tiny_run}",
        ): f"reference={tiny_run}: its results are not of {given}; leave one of them out",
        (
            given,
            "views=flip",
            "view_weights=by_class",
        ): "view_weights=by_class: they are learnt on the run's own images",
        (given, "views=flip", "adjust=class_bias"): "views=flip: adjust=class_bias is fitted on saved logits",
        (given, "dataset.root=x"): "dataset.root=x: has no effect: the images are those of images=",
    }.items():
        answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", *words)
        assert answer.code == 2, words
        assert answer.err.startswith(f"evaluate.py: {line}"), answer.err
        assert answer.err.count("\n") == 1
    answer = typed(tmp_path, "evaluate", "ckpt=weights.pt", given, "model=tiny", "dataset=digits")
    line = f"evaluate.py: {given}: only with a run, whose classes are known; ckpt=weights.pt is none\n"
    assert (answer.code, answer.err) == (2, line)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_runs_own_training_images_are_no_test_images(typed, tiny_words, flat, tmp_path):
    photos = ["dataset=image_folder", f"dataset.root={flat}", "dataset.imbalance.profile=none", "training.batch_size=8"]
    made = typed(tmp_path, "train", *tiny_words, *photos, "dataset.validation=none", "hydra.run.dir=run")
    assert made.code == 0, made.err
    answer = typed(tmp_path, "evaluate", "ckpt=run", f"images={flat}")
    assert answer.code == 2
    assert f"images={flat}: run was trained on images in it; leave images= out" in answer.err


def test_images_without_labels_are_for_another_program(typed, tiny_run, flat, tmp_path):
    folder = next(flat.iterdir())
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", f"images={folder}")
    predict = f"python -m cifar_imbalance.predict ckpt=RUN images={folder}"
    assert (answer.code, answer.err) == (
        2,
        f"evaluate.py: images={folder}: there are no images in it as CLASS/IMAGE; without labels: {predict}\n",
    )
