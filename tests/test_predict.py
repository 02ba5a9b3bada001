"""Images without labels: python -m cifar_imbalance.predict ckpt=RUN images=FOLDER."""

import csv
import os
import shutil

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

COUNT = 7


@pytest.fixture(scope="module")
def photos(tiny_run, tmp_path_factory):
    """The run's first test images as files in two folders, with a hidden one and a text among them."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    test = load_experiment_data(RunFolder(tiny_run).read_config().dataset).test
    for number in range(COUNT):
        place = folder if number < 4 else folder / "sub"
        Image.fromarray(test.images[number]).save(place / f"{number}.png")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image")
    return folder


def predicted(typed, cwd, *words):
    answer = typed(cwd, "predict", *words, "output=out")
    assert answer.code == 0, answer.err
    return list(csv.DictReader((cwd / "out" / "predictions.csv").read_text().splitlines())), answer.out


def check(rows, logits, class_names):
    """The rows are those of these logits."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    assert len(rows) == len(logits)
    for row, of_image in zip(rows, probabilities, strict=True):
        assert row["class_1"] == class_names[of_image.argmax()]
        assert float(row["probability_1"]) == pytest.approx(of_image.max(), abs=1e-4)
        assert float(row["probability_3"]) == pytest.approx(np.sort(of_image)[-3], abs=1e-4)


def test_the_classes_are_those_that_the_run_gave_these_images(typed, tiny_run, photos, tmp_path):
    saved = Predictions.load(tiny_run / "predictions" / "test.npz")
    rows, out = predicted(typed, tmp_path, f"ckpt={tiny_run}", f"images={photos}", "top=3")
    assert [row["file"] for row in rows] == [str(photos / f"{n}.png") for n in range(4)] + [
        str(photos / "sub" / f"{n}.png") for n in range(4, COUNT)
    ]
    check(rows, saved.logits[:COUNT], saved.class_names)
    assert f"{photos / '0.png'}: {rows[0]['class_1']} {rows[0]['probability_1']}, " in out


def test_an_ensemble_and_an_adjustment(typed, tiny_run, tiny_words, photos, tmp_path):
    assert typed(tmp_path, "train", *tiny_words, "seed=1", "hydra.run.dir=other").code == 0
    runs = [tiny_run, tmp_path / "other"]
    test, held_out = (
        [Predictions.load(run / "predictions" / f"{split}.npz") for run in runs] for split in ("test", "validation")
    )
    adjust = Adjust(name="class_bias")
    validation = combine(held_out, "mean_logit")
    found = fit(adjust, Given(validation, test[0].train_images))(combine(test, "mean_logit"))
    words = [f"ckpt=[{runs[0]},{runs[1]}]", f"images={photos}", "ensemble.combine=mean_logit", "adjust=class_bias"]
    rows, _ = predicted(typed, tmp_path, *words)
    check(rows, found.logits[:COUNT], test[0].class_names)


def test_an_ensemble_combines_as_its_own_configuration_says(typed, tiny_words, photos, tmp_path):
    words = [*tiny_words, "ensemble.members=2", "ensemble.combine=mean_logit", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    rows, _ = predicted(typed, tmp_path, "ckpt=run", f"images={photos}")
    saved = Predictions.load(tmp_path / "run" / "predictions" / "test.npz")
    check(rows, saved.logits[:COUNT], saved.class_names)


def test_files_that_are_not_read_are_counted_and_a_pipe_is_none(typed, tiny_run, photos, tmp_path):
    shutil.copy(photos / "0.png", tmp_path / "0.png")
    (tmp_path / "phone.HEIC").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    rows, out = predicted(typed, tmp_path, f"ckpt={tiny_run}", "images=.")
    assert [row["file"] for row in rows] == ["0.png"]
    assert ".: 1 of 2 files are not read as images (.heic)" in out


def test_one_photograph_of_another_size_is_resized(typed, tiny_run, photos, tmp_path):
    large = Image.open(photos / "0.png").resize((300, 200), Image.Resampling.BICUBIC)
    large.save(tmp_path / "photo.jpg")
    rows, _ = predicted(typed, tmp_path, f"ckpt={tiny_run}", "images=photo.jpg", "top=1")
    assert [row["file"] for row in rows] == ["photo.jpg"]
    assert set(rows[0]) == {"file", "class_1", "probability_1"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ensemble.combine=mean_logit"], "ensemble.combine=mean_logit: has no effect: one model is used"),
        (
            ["views=flip", "adjust=class_bias"],
            "views=flip: adjust=class_bias is fitted on saved logits of validation images, which are of no views; "
            "leave one of them out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(typed, tiny_run, photos, tmp_path, words, line):
    answer = typed(tmp_path, "predict", f"ckpt={tiny_run}", f"images={photos}", *words)
    assert (answer.code, answer.err) == (2, f"cifar_imbalance.predict: {line}\n")


@pytest.mark.parametrize("where", ["logits_of_views", "read_image"])
def test_a_full_memory_names_what_can_be_changed(typed, tiny_run, photos, tmp_path, monkeypatch, where):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 10 GiB")

    module = {"logits_of_views": "engine.reported", "read_image": "predict.files"}[where]
    monkeypatch.setattr(f"cifar_imbalance.{module}.{where}", full)
    answer = typed(tmp_path, "predict", f"ckpt={tiny_run}", f"images={photos}", "runtime=cpu")
    line = (
        f"the memory of runtime=cpu is too small for eval_batch_size=512, images={photos} ({COUNT} files); "
        "a smaller batch, fewer images at a time or runtime.precision=bfloat16 needs less"
    )
    assert (answer.code, answer.err) == (1, f"cifar_imbalance.predict: {line}\n")


def test_a_name_that_is_no_text_is_escaped(typed, tiny_run, photos, tmp_path):
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    shutil.copy(os.fsencode(photos / "0.png"), odd)
    rows, _ = predicted(typed, tmp_path, f"ckpt={tiny_run}", f"images={tmp_path}", "top=1")
    assert rows[-1]["file"].endswith("/\\xff.png")


def test_mistakes_are_one_line(typed, tiny_run, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"not a picture")
    for words, line in {
        (f"ckpt={tiny_run}",): "images: a value is missing; write ckpt=RUN_FOLDER images=FOLDER",
        (f"ckpt={tiny_run}", "images=nowhere"): "images=nowhere: there is no such file or folder",
        (f"ckpt={tiny_run}", "images=none"): "images=none: there is no image in it",
        (f"ckpt={tiny_run}", "images=none", "top=0"): "top=0: allowed is at least 1",
    }.items():
        answer = typed(tmp_path, "predict", *words)
        assert answer.code == 2
        assert answer.err.startswith(f"cifar_imbalance.predict: {line}"), answer.err
    answer = typed(tmp_path, "predict", f"ckpt={tiny_run}", "images=broken")
    assert answer.code == 2
    assert answer.err.startswith("cifar_imbalance.predict: images: cannot read broken/a.png: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "none"]


def test_files_that_cannot_be_read_are_named_and_left_out(typed, tiny_run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "1.png").write_text("broken")
    rows, out = predicted(typed, tmp_path, f"ckpt={tiny_run}", "images=photos")
    assert [row["file"][-5:] for row in rows] == ["0.png", "2.png", "3.png", "4.png", "5.png", "6.png"]
    assert "images: cannot read photos/1.png: its content is no image, or one that Pillow does not know\n" in out
    assert f"images: 1 of {COUNT} files cannot be read and are left out\n" in out


def test_a_file_that_cannot_be_read_alone_is_an_error(typed, tiny_run, tmp_path):
    (tmp_path / "1.png").write_text("broken")
    answer = typed(tmp_path, "predict", f"ckpt={tiny_run}", "images=1.png", "output=out")
    what = "its content is no image, or one that Pillow does not know"
    assert (answer.code, answer.err) == (2, f"cifar_imbalance.predict: images: cannot read 1.png: {what}\n")
    assert not (tmp_path / "out").exists()


def test_linked_folders_are_read_once(typed, tiny_run, photos, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "linked").symlink_to(photos)
    (tmp_path / "all" / "self").symlink_to(tmp_path / "all")
    rows, _ = predicted(typed, tmp_path, f"ckpt={tiny_run}", "images=all")
    assert len(rows) == COUNT


def test_predictions_are_not_overwritten(typed, tiny_run, photos, tmp_path):
    predicted(typed, tmp_path, f"ckpt={tiny_run}", f"images={photos}")
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    answer = typed(tmp_path, "predict", f"ckpt={tiny_run}", f"images={photos}", "top=1", "output=out")
    line = "output=out: has predictions.csv already; choose another folder, or remove it"
    assert (answer.code, answer.err) == (2, f"cifar_imbalance.predict: {line}\n")
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before


def test_a_checkpoint_is_not_a_run(typed, tiny_run, photos, tmp_path):
    file = tiny_run / "checkpoints" / "last.pt"
    answer = typed(tmp_path, "predict", f"ckpt={file}", f"images={photos}")
    assert (answer.code, answer.err) == (
        2,
        f"cifar_imbalance.predict: ckpt={file}: is a file of a run; write ckpt={tiny_run}\n",
    )
