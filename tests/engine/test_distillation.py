"""Learning from a teacher's saved logits."""

import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn import functional

from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.methods.distillation import distilled
from cifar_imbalance.runs.folder import RunFolder


def logits(seed, size=(6, 4)):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_hintons():
    student, teacher, losses = logits(0), logits(1), torch.arange(6.0)
    share = torch.tensor([0.0, 0.9, 1.0, 0.5, 0.5, 0.5])
    soft, target = functional.log_softmax(student / 3, dim=1), functional.softmax(teacher / 3, dim=1)
    divergence = functional.kl_div(soft, target, reduction="none").sum(dim=1)
    expected = (1 - share) * losses + share * 9 * divergence
    assert torch.allclose(distilled(losses, student, teacher, share, 3.0), expected, atol=1e-6)


def test_a_student_that_agrees_has_nothing_to_learn_from_its_teacher():
    student = logits(0).requires_grad_()
    loss = distilled(torch.zeros(6), student, student.detach() + 5, torch.ones(6), 2.0).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, typed, tiny_run):
    """The folder of the tiny run's logits on its training images."""
    folder = tmp_path_factory.mktemp("teacher")
    answer = typed(folder, "evaluate", f"ckpt={tiny_run}", "split=train", "hydra.run.dir=teacher")
    assert answer.code == 0, answer.err
    return folder / "teacher"


def trained(typed, folder, words, *more):
    answer = typed(folder, "train", *words, *more)
    assert answer.code == 0, answer.err


def test_its_folder_has_held_out_logits_too(teacher, tiny_run):
    one, other = (Predictions.load(path / "predictions" / "validation.npz") for path in (teacher, tiny_run))
    assert np.array_equal(one.logits, other.logits)


def test_a_run_names_its_teacher_and_can_be_repeated(typed, tmp_path, tiny_words, teacher):
    trained(typed, tmp_path, tiny_words, f"teacher={teacher}", "seed=1", "hydra.run.dir=student")
    trained(typed, tmp_path, tiny_words, "seed=1", "hydra.run.dir=alone")
    student, alone = (RunFolder(tmp_path / name) for name in ("student", "alone"))
    config = student.read_config()
    assert config.teacher == str(teacher)
    assert len(config.teacher_sha256) == 64
    test, without = (Predictions.load(run.predictions("test")).logits for run in (student, alone))
    assert not np.array_equal(test, without)
    trained(typed, tmp_path, ["repeat=student", "hydra.run.dir=again"])
    assert np.array_equal(Predictions.load(RunFolder(tmp_path / "again").predictions("test")).logits, test)

    moved = tmp_path / "moved"
    shutil.copytree(teacher, moved)
    saved = Predictions.load(moved / "predictions" / "train.npz")
    saved.logits[0, 0] += 1
    saved.save(moved / "predictions" / "train.npz")
    answer = typed(tmp_path, "train", "repeat=student", f"teacher={moved}", "hydra.run.dir=other")
    assert answer.err == (
        f"train.py: teacher={moved}: its logits are not those that the run learnt from (teacher_sha256)\n"
    )


def test_a_run_teaches_by_its_own_evaluation(typed, tmp_path, tiny_words, tiny_run):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert typed(tmp_path, "evaluate", "ckpt=run", "split=train").code == 0
    (folder,) = run.glob("evaluations/train_*")
    trained(typed, tmp_path, tiny_words, "teacher=run", "hydra.run.dir=student")
    assert RunFolder(tmp_path / "student").read_config().teacher == str(folder)
    shutil.copytree(folder, folder.with_name("train_other"))
    answer = typed(tmp_path, "train", *tiny_words, "teacher=run")
    line = f"teacher={run}: has several evaluations of training images ({folder.name}, train_other); name one of them"
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")


def test_a_student_of_a_teacher_that_knows_nothing_learns_nothing(typed, tmp_path, tiny_words, teacher):
    clueless = tmp_path / "clueless"
    shutil.copytree(teacher, clueless)
    saved = Predictions.load(clueless / "predictions" / "train.npz")
    saved.logits[:] = 0
    saved.save(clueless / "predictions" / "train.npz")
    words = (f"teacher={clueless}", "distillation.hard_share=0", "training.epochs=4", "hydra.run.dir=student")
    trained(typed, tmp_path, tiny_words, *words)
    found = Predictions.load(tmp_path / "student" / "predictions" / "test.npz").logits
    assert softmax(found, axis=1).max(axis=1).mean() < 0.2  # of ten classes


def test_trust_by_recall_leaves_classes_that_the_teacher_misses_to_the_labels(teacher, tiny_run):
    from cifar_imbalance.data.experiment_data import load_experiment_data
    from cifar_imbalance.engine.teacher import load_teacher
    from cifar_imbalance.runs.teacher import logits_sha256

    config = RunFolder(tiny_run).read_config()
    config.teacher = str(teacher)
    config.distillation.hard_share, config.distillation.trust = 0.25, "by_recall"
    config.teacher_sha256 = logits_sha256(teacher, "by_recall")
    data = load_experiment_data(config.dataset)
    train, found = data.train, load_teacher(config, data)
    recall = class_metrics(Predictions.load(teacher / "predictions" / "validation.npz")).recall
    assert found.share == pytest.approx(0.75 * recall)
    saved = Predictions.load(teacher / "predictions" / "train.npz")
    assert np.array_equal(found.logits, saved.logits)  # the same images in the same order
    assert np.array_equal(saved.labels, train.labels)


def test_a_moved_teacher_is_known_by_its_logits(typed, tmp_path, tiny_words, teacher):
    moved = tmp_path / "moved"
    shutil.copytree(teacher, moved)
    trained(typed, tmp_path, tiny_words, f"teacher={moved}", "distillation.trust=by_recall", "hydra.run.dir=student")
    (tmp_path / "student" / "report" / "summary.json").unlink()  # not finished
    shutil.move(moved, tmp_path / "elsewhere")
    trained(typed, tmp_path, ["resume=student", "teacher=elsewhere"])
    held_out = Predictions.load(tmp_path / "elsewhere" / "predictions" / "validation.npz")
    held_out.logits[:] = 0
    held_out.save(tmp_path / "elsewhere" / "predictions" / "validation.npz")
    (tmp_path / "student" / "report" / "summary.json").unlink()
    answer = typed(tmp_path, "train", "resume=student", "teacher=elsewhere")
    assert "its logits are not those that the run learnt from" in answer.err


def test_resuming_neither_adds_a_teacher_nor_drops_one(typed, tmp_path, tiny_run, teacher):
    answer = typed(tmp_path, "train", f"resume={tiny_run}", f"teacher={teacher}")
    line = f"resume={tiny_run}: teacher is null in the run and {teacher} here; the run keeps its own"
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")


def test_test_images_do_not_become_held_out_ones(typed, tmp_path, tiny_words):
    tiny_words = [*tiny_words, "dataset.imbalance.profile=none", "dataset.imbalance.factor=1"]
    trained(typed, tmp_path, tiny_words, "dataset.validation=test", "hydra.run.dir=run")
    answer = typed(tmp_path, "evaluate", "ckpt=run", "split=train", "hydra.run.dir=teacher")
    assert answer.code == 0, answer.err
    assert [file.name for file in (tmp_path / "teacher" / "predictions").iterdir()] == ["train.npz"]
    words = ["teacher=teacher", "distillation.trust=by_recall", "dataset.validation=none"]
    answer = typed(tmp_path, "train", *tiny_words, *words)
    assert answer.err == (
        f"train.py: distillation.trust=by_recall: teacher={tmp_path / 'teacher'} has no logits of validation images "
        "(dataset.validation=holdout)\n"
    )
    answer = typed(tmp_path, "train", *tiny_words, "teacher=teacher")  # its run held nothing out
    assert "of the validation images; the same data set, split and subset are expected" in answer.err


def test_an_ensemble_of_folds_has_no_training_images_in_common(typed, tmp_path, tiny_words):
    trained(typed, tmp_path, tiny_words, "ensemble.members=2", "ensemble.folds=true", "hydra.run.dir=folds")
    answer = typed(tmp_path, "evaluate", "ckpt=folds", "split=train")
    assert answer.err == (
        "evaluate.py: split=train: the models are run on one set of images, and these runs have different ones\n"
    )


def test_an_adjusted_ensemble_teaches(typed, tmp_path, tiny_words):
    trained(typed, tmp_path, tiny_words, "ensemble.members=2", "hydra.run.dir=ensemble")
    words = ("split=train", "views=flip", "ensemble.combine=mean_logit", "adjust=class_bias", "hydra.run.dir=teacher")
    answer = typed(tmp_path, "evaluate", "ckpt=ensemble", *words)
    assert answer.code == 0, answer.err
    held_out = Predictions.load(tmp_path / "teacher" / "predictions" / "validation.npz")
    assert len(held_out.labels) == len(
        Predictions.load(tmp_path / "ensemble" / "predictions" / "validation.npz").labels
    )
    trained(typed, tmp_path, tiny_words, "teacher=teacher", "distillation.trust=by_recall", "hydra.run.dir=student")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["teacher={run}"],
            "teacher={run}: its logits of training images are not saved yet; first: python evaluate.py ckpt={run} "
            "split=train",
        ),
        (
            ["teacher={run}/report"],
            "teacher={run}/report: it has no logits of training images (predictions/train.npz), "
            "which python evaluate.py ckpt=RUN split=train writes",
        ),
        (
            ["teacher={teacher}", "mixing=mixup"],
            "mixing=mixup: the teacher's logits are of single images; leave out teacher=",
        ),
        (
            ["teacher={teacher}", "loss=focal", "distillation.hard_share=0"],
            "loss=focal: has no effect: all of the loss is the teacher's "
            "(distillation.hard_share=0, distillation.trust=all)",
        ),
        (
            ["teacher={teacher}", "loss.label_smoothing=0.1", "distillation.hard_share=0"],
            "loss.label_smoothing=0.1: has no effect: the labels have no share of the loss "
            "(distillation.hard_share=0); allowed is 0",
        ),
        (
            ["teacher={teacher}", "loss=gml"],
            "loss=gml: is of a batch, the teacher's part of single images; leave out teacher=",
        ),
        (
            ["distillation.temperature=4"],
            "distillation.temperature=4.0: has no effect: there is no teacher; teacher=RUN names one",
        ),
        (
            ["teacher={teacher}", "dataset.validation=none"],
            "teacher={teacher}: it has no logits of 228 of the 517 training images; the same data set, split and "
            "subset are expected",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(typed, tmp_path, tiny_words, tiny_run, teacher, words, line):
    words = [word.format(run=tiny_run, teacher=teacher) for word in words]
    answer = typed(tmp_path, "train", *tiny_words, *words)
    assert (answer.code, answer.err) == (2, f"train.py: {line.format(run=tiny_run, teacher=teacher)}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["distilled", "distilled_by_recall", "distilled_adjusted", "distilled_recall_weights"])
def test_a_distilled_experiment_does_not_train_without_its_teacher(typed, tmp_path, name):
    answer = typed(tmp_path, "train", f"experiment=balanced/{name}")
    assert (answer.code, answer.err) == (
        2,
        f"train.py: experiment=balanced/{name}: learns from a teacher; write teacher=RUN after "
        "python evaluate.py ckpt=RUN split=train\n",
    )
