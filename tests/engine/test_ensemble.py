"""Ensembles on the command line: trained, interrupted, resumed, combined, evaluated."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from cifar_imbalance.engine import ensemble, experiment
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.evidence.combination import combine
from cifar_imbalance.evidence.predictions import Predictions

ROOT = Path(__file__).resolve().parents[2]
OF_AN_ENSEMBLE = {
    "class_gains.csv",
    "classification_report.csv",
    "errors.csv",
    "gallery.png",
    "classification_report.txt",
    "confusion.png",
    "curves.png",
    "ensemble.png",
    "ensemble_size.csv",
    "members.csv",
    "members.txt",
    "per_class.png",
    "report.html",
    "summary.json",
}


def summary(folder):
    return json.loads((folder / "report" / "summary.json").read_text())


def logits(folder):
    return Predictions.load(folder / "predictions" / "test.npz").logits


@pytest.fixture(scope="session")
def tiny_ensemble(tmp_path_factory, typed, tiny_words):
    """The folder of a finished ensemble of three, trained one after another. Read or copy it, do not change it."""
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    words = [*tiny_words, "ensemble.members=3", "plots.png=true", f"hydra.run.dir={folder}"]
    answer = typed(folder.parent, "train", *words)
    assert answer.code == 0, answer.err
    return folder


# ---------------------------------------------------------------- training
def test_the_folder_has_a_run_for_each_member_and_the_ensembles_own_report(tiny_ensemble):
    assert sorted(path.name for path in (tiny_ensemble / "members").iterdir()) == ["0", "1", "2"]
    assert {path.name for path in (tiny_ensemble / "report").iterdir()} == OF_AN_ENSEMBLE
    assert summary(tiny_ensemble)["members"] == 3
    assert summary(tiny_ensemble)["test_set_use"] == "once, at the end"
    assert summary(tiny_ensemble)["seed"] == [0, 1, 2]
    assert summary(tiny_ensemble)["model"] == "test_efficientnet"
    assert summary(tiny_ensemble)["chosen_by"] == "the best epoch by macro_f1 of the validation images"
    assert summary(tiny_ensemble)["wall_seconds"] > 0
    members = [Predictions.load(tiny_ensemble / "members" / str(k) / "predictions" / "test.npz") for k in range(3)]
    assert np.array_equal(logits(tiny_ensemble), combine(members, "mean_probability").logits)
    assert summary(tiny_ensemble)["mean_of_members"]["accuracy"] == pytest.approx(
        np.mean([summary(tiny_ensemble / "members" / str(k))["accuracy"] for k in range(3)])
    )


def test_a_member_is_the_run_of_its_seed(tiny_ensemble, tmp_path, typed, tiny_words):
    answer = typed(tmp_path, "train", *tiny_words, "seed=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    assert np.array_equal(logits(tmp_path / "run"), logits(tiny_ensemble / "members" / "1"))
    assert not np.array_equal(logits(tmp_path / "run"), logits(tiny_ensemble / "members" / "0"))


def test_a_killed_parallel_member_is_named_and_the_ensemble_resumed(tiny_ensemble, tmp_path, typed, tiny_words):
    def kill_the_first():
        while not (tmp_path / "run" / "members" / "0" / "train.log").exists():
            time.sleep(0.02)
        children = Path(f"/proc/{os.getpid()}/task/{threading.main_thread().native_id}/children").read_text().split()
        workers = [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(workers[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first, daemon=True)
    killer.start()
    words = [*tiny_words, "ensemble.members=2", "ensemble.workers=2", f"hydra.run.dir={tmp_path / 'run'}"]
    answer = typed(tmp_path, "train", *words)
    killer.join()
    assert answer.code == 1
    assert answer.err.startswith("train.py: 1 of 2 members failed: member 0: killed by signal 9; resume with: ")
    assert "member 1  epoch 2/2" in answer.out and "member 1  finished" in answer.out
    finished = (tmp_path / "run" / "members" / "1" / "checkpoints" / "last.pt").stat().st_mtime_ns
    answer = typed(tmp_path, "train", "resume=run")
    assert answer.code == 0, answer.err
    assert (tmp_path / "run" / "members" / "1" / "checkpoints" / "last.pt").stat().st_mtime_ns == finished
    for member in ("members/0", "members/1"):  # equal, whichever process trained them
        assert np.array_equal(logits(tmp_path / "run" / member), logits(tiny_ensemble / member))


@pytest.mark.slow
def test_a_killed_ensemble_resumes_from_its_members_checkpoints(tmp_path, typed, tiny_words):
    words = [*tiny_words, "training.epochs=4", "ensemble.members=2"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    typing = [sys.executable, ROOT / "train.py", *words, "ensemble.workers=2", f"hydra.run.dir={run}"]
    process = subprocess.Popen(typing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    while not all((run / "members" / k / "checkpoints" / "last.pt").exists() for k in "01"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.kill()
    said, _ = process.communicate()  # waits for its workers too: they write to the same pipe
    assert "Traceback" not in said
    answer = typed(tmp_path, "train", "resume=run")
    assert answer.code == 0, answer.err
    assert typed(tmp_path, "train", *words, f"hydra.run.dir={whole}").code == 0
    for member in ("members/0", "members/1"):
        epochs = [json.loads(line)["epoch"] for line in (run / member / "metrics.jsonl").read_text().splitlines()]
        assert epochs == [1, 2, 3, 4]
        assert np.array_equal(logits(run / member), logits(whole / member))
    assert np.array_equal(logits(run), logits(whole))
    assert summary(run)["wall_seconds"] is None


def test_an_ensemble_whose_member_was_replaced_is_not_resumed(tiny_ensemble, tmp_path, typed):
    run = shutil.copytree(tiny_ensemble, tmp_path / "run")
    (run / "report" / "summary.json").unlink()
    shutil.rmtree(run / "members" / "0")
    shutil.copytree(run / "members" / "1", run / "members" / "0")
    answer = typed(tmp_path, "train", "resume=run")
    line = "train.py: run/members/0: it is not a member of this ensemble (seed is 1 instead of 0)\n"
    assert (answer.code, answer.err) == (2, line)


def test_moved_weights_can_be_given_again_for_members_not_yet_started(tmp_path, typed, tiny_words, monkeypatch):
    def second_diverges(config, *arguments):
        if config.seed == 1:
            raise TrainingFailed("the loss is nan")
        experiment.run_experiment(config, *arguments)

    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "here.pth")
    words = [*tiny_words, "training.epochs=1", "ensemble.members=2", "model.weights=here.pth"]
    with monkeypatch.context() as patch:
        patch.setattr(ensemble, "run_experiment", second_diverges)
        assert typed(tmp_path, "train", *words, f"hydra.run.dir={tmp_path / 'run'}").code == 1
    (tmp_path / "here.pth").rename(tmp_path / "there.pth")
    answer = typed(tmp_path, "train", "resume=run")
    assert (answer.code, answer.err) == (2, "train.py: model.weights=here.pth: there is no such file\n")
    answer = typed(tmp_path, "train", "resume=run", "model.weights=there.pth")
    assert answer.code == 0, answer.err
    assert summary(tmp_path / "run")["weights"] == ["here.pth", "there.pth"]


def test_a_failed_sequential_member_is_named_and_the_others_finish(tmp_path, typed, tiny_words, monkeypatch):
    def second_diverges(config, *arguments):
        if config.seed == 1:
            raise TrainingFailed("the loss is nan")
        experiment.run_experiment(config, *arguments)

    monkeypatch.setattr(ensemble, "run_experiment", second_diverges)
    words = [*tiny_words, "training.epochs=1", "ensemble.members=3", f"hydra.run.dir={tmp_path / 'run'}"]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 1
    assert answer.err == (
        "train.py: 1 of 3 members failed: member 1: the loss is nan; "
        f"resume with: python train.py resume={tmp_path / 'run'}\n"
    )
    assert [(tmp_path / "run" / "members" / k / "report" / "summary.json").exists() for k in "012"] == [
        True,
        False,
        True,
    ]


def test_members_that_differ_by_model_augmentation_and_fold_are_combined(tmp_path, typed, tiny_words):
    words = [
        *(word for word in tiny_words if not word.startswith("model.name")),
        "training.epochs=1",
        "augmentation=[flip,shift]",
        "ensemble.members=2",
        "ensemble.models=[test_efficientnet,test_resnet]",
        "ensemble.augmentations=[[flip],[shift]]",
        "ensemble.folds=true",
        "ensemble.combine=weighted",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err
    weights = summary(tmp_path / "run")["weights_by_validation"]
    assert len(weights) == 2 and sum(weights) == pytest.approx(1, abs=1e-3)
    records = [json.loads((tmp_path / "run" / "members" / k / "data.json").read_text()) for k in "01"]
    assert records[0]["sha256"]["validation"] == records[1]["sha256"]["validation"]
    assert records[0]["sha256"]["train"] != records[1]["sha256"]["train"]
    assert {record["folds"] for record in records} == {2}


# ---------------------------------------------------------------- evaluation
def evaluate(cwd, typed, *words):
    answer = typed(cwd, "evaluate", *words, f"hydra.run.dir={cwd / 'evaluation'}")
    assert answer.code == 0, answer.err
    return cwd / "evaluation"


def test_evaluating_an_ensemble_reads_its_members_saved_logits(tiny_ensemble, tmp_path, typed):
    ensemble_folder = shutil.copytree(tiny_ensemble, tmp_path / "run")
    for checkpoint in ensemble_folder.rglob("*.pt"):
        checkpoint.unlink()
    folder = evaluate(tmp_path, typed, "ckpt=run")
    assert np.array_equal(logits(folder), logits(tiny_ensemble))
    of_images = {"gallery.png"}  # saved logits have none
    assert {path.name for path in (folder / "report").iterdir()} == OF_AN_ENSEMBLE - of_images


def test_runs_of_other_jobs_are_combined_by_evaluate(tiny_ensemble, tmp_path, typed):
    runs = ",".join(str(tiny_ensemble / "members" / k) for k in "012")
    folder = evaluate(tmp_path, typed, f"ckpt=[{runs}]", "ensemble.combine=mean_logit")
    members = [Predictions.load(tiny_ensemble / "members" / k / "predictions" / "test.npz") for k in "012"]
    assert np.array_equal(logits(folder), combine(members, "mean_logit").logits)


def test_runs_of_the_same_name_are_distinguished(tiny_ensemble, tmp_path, typed):
    shutil.copytree(tiny_ensemble / "members" / "1", tmp_path / "other" / "0")
    folder = evaluate(tmp_path, typed, f"ckpt=[{tiny_ensemble}/members/0,other/0]")
    lines = (folder / "report" / "members.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:4]] == [
        "member members/0",
        "member other/0",
        "mean of the members",
    ]


def test_runs_validated_on_other_images_are_combined_but_not_weighted(tiny_ensemble, tmp_path, typed, resealed):
    shutil.copytree(tiny_ensemble / "members" / "1", tmp_path / "other")
    validation = tmp_path / "other" / "predictions" / "validation.npz"
    found = Predictions.load(validation)
    replace(found, hashes=found.hashes + np.uint64(1)).save(validation)
    resealed(tmp_path / "other")
    ckpt = f"ckpt=[{tiny_ensemble}/members/0,other]"
    answer = typed(tmp_path, "evaluate", ckpt, "ensemble.combine=weighted", f"hydra.run.dir={tmp_path / 'evaluation'}")
    assert (answer.code, answer.err) == (
        2,
        "evaluate.py: ckpt=other (validation images): it was evaluated on other images than "
        f"ckpt={tiny_ensemble}/members/0 (validation images)\n",
    )
    assert not (tmp_path / "evaluation").exists()
    folder = evaluate(tmp_path, typed, ckpt)
    assert set(summary(folder)["combinations"]) == {"mean_probability", "mean_logit"}


@pytest.mark.parametrize(
    "words, line",
    [
        (["ckpt=[{run}/members/0,nowhere]"], "ckpt=nowhere: there is no such folder; a run folder is expected"),
        (["ckpt=[]"], "ckpt=[]: at least one run folder is expected"),
        (["ckpt=[{run}/members/0,{run}/members/0]"], "ckpt: {run}/members/0 is in the list twice"),
        (
            ["ckpt={run}", "reference=paper/exp9"],
            "reference=paper/exp9: allowed are paper/exp2, paper/exp3 and run fold",
        ),
        (
            ["ckpt={run}", "reference=paper/exp2"],
            "reference=paper/exp2: it is of CIFAR-100; the run has no class apple",
        ),
        (
            ["ckpt={run}", "reference=paper/exp2", "split=validation"],
            "split=validation: the tables of the paper are of the test images, allowed is test",
        ),
        (["ckpt={run}", "reference=nowhere"], "reference=nowhere: there is no such folder; a run folder is expected"),
        (
            ["ckpt={run}", "model=b5"],
            "ckpt={run}: model.name is test_efficientnet in the run and tf_efficientnet_b5",
        ),
        (
            ["ckpt={run}", "runtime=cpu"],
            "runtime: has no effect where saved logits are combined; allowed are ckpt, split, images, views, view",
        ),
        (
            ["ckpt=[{run}/members/0,{run}/members/1]", "dataset.root=."],
            "dataset.root: has no effect where saved logits are combined; allowed are ckpt, split, images, views, view",
        ),
    ],
)
def test_runs_that_cannot_be_combined_or_compared_give_a_one_line_error(words, line, tiny_ensemble, tmp_path, typed):
    answer = typed(tmp_path, "evaluate", *(word.format(run=tiny_ensemble) for word in words))
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert answer.err.startswith(f"evaluate.py: {line.format(run=tiny_ensemble)}")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_compared_with_another_image_by_image(tiny_ensemble, tmp_path, typed):
    folder = evaluate(tmp_path, typed, f"ckpt={tiny_ensemble}", f"reference={tiny_ensemble / 'members' / '0'}")
    assert (folder / "report" / "side_by_side.png").is_file()
    text = (folder / "report" / "side_by_side.txt").read_text()
    assert "McNemar" in text
    differing = [
        "ensemble.members: 1 in the reference, 3 in the run",
        "ensemble.together: null in the reference, workers in the run",
    ]
    assert f"They differ in:\n- {differing[0]}\n- {differing[1]}\n\n" in text


def test_every_run_of_a_combination_is_compared_with_the_reference(tiny_ensemble, tmp_path, typed):
    members = [tiny_ensemble / "members" / number for number in "012"]
    folder = evaluate(tmp_path, typed, f"ckpt=[{members[1]},{members[2]}]", f"reference={members[0]}")
    text = (folder / "report" / "side_by_side.txt").read_text()
    assert "- runs: one in the reference, 2 are combined here\n- seed: 0 in the reference, 1, 2 in the run\n\n" in text


def test_an_invalid_member_gives_a_one_line_error_before_training(tmp_path, typed):
    words = ["experiment=quickstart", "ensemble.members=2", "ensemble.models=[test_efficientnet,no_such_model]"]
    answer = typed(tmp_path, "train", *words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert answer.err.startswith("train.py: model.name=no_such_model: timm has no such model")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- saved logits, adjusted
@pytest.mark.parametrize("name", ["class_bias", "temperature", "vector_scaling", "logit_adjustment"])
def test_saved_logits_of_a_run_are_adjusted_by_what_is_fitted_on_its_validation_images(tiny_run, tmp_path, typed, name):
    folder = evaluate(tmp_path, typed, f"ckpt={tiny_run}", f"adjust={name}")
    record = json.loads((folder / "report" / "adjustment.json").read_text())
    assert summary(folder)["adjust"] == name
    raw, changed = (Predictions.load(run / "predictions" / "test.npz") for run in (tiny_run, folder))
    expected = raw.logits - raw.logits.mean(1, keepdims=True)
    found = (changed.logits - np.array(record["bias"])) / np.array(record["scale"])
    assert np.allclose(found - found.mean(1, keepdims=True), expected, atol=1e-3)
    assert {"validation_before", "validation_cross_fitted", "test_before", "test_after"} <= record.keys()
    assert record["test_before"]["accuracy"] == pytest.approx(summary(tiny_run)["accuracy"], abs=1e-4)


def test_ensembles_and_lists_are_adjusted_after_they_are_combined(tiny_ensemble, tmp_path, typed):
    folder = evaluate(tmp_path, typed, f"ckpt={tiny_ensemble}", "adjust=class_bias", "adjust.class_bias.power=2")
    lines = (folder / "report" / "members.txt").read_text()
    assert "ensemble, mean_probability, class_bias" in lines
    assert summary(folder)["accuracy"] == pytest.approx(
        json.loads((folder / "report" / "adjustment.json").read_text())["test_after"]["accuracy"], abs=1e-4
    )


def test_test_images_of_another_prior(tiny_run, tmp_path, typed):
    words = ["test_prior.profile=backward", "test_prior.factor=5"]
    folder = evaluate(tmp_path, typed, f"ckpt={tiny_run}", *words)
    counts = np.bincount(Predictions.load(folder / "predictions" / "test.npz").labels)
    assert counts[0] < counts[-1] and counts.sum() < 535


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["adjust=no_such"], "adjust=no_such: allowed are "),
        (["adjust=temperature", "runtime=cpu"], "runtime: has no effect where saved logits are combined"),
        (["adjust.class_bias.power=1"], "adjust.class_bias.power=1.0: only with adjust=class_bias, here it is none"),
        (["test_prior.factor=5"], "test_prior.factor=5.0: has no effect: test_prior.profile=none keeps all images"),
    ],
)
def test_an_adjustment_without_effect_is_refused(tiny_run, tmp_path, typed, words, line):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", *words)
    assert answer.code == 2 and answer.err.startswith(f"evaluate.py: {line}"), answer.err


def test_an_adjustment_needs_a_run_with_validation_images_and_does_not_correct_twice(
    tiny_run, tmp_path, typed, tiny_words
):
    weights = tiny_run / "checkpoints" / "last.pt"
    answer = typed(tmp_path, "evaluate", f"ckpt={weights}", "adjust=temperature")
    assert (
        answer.err
        == f"evaluate.py: adjust=temperature: changes the saved logits of a run; ckpt={weights} is not a run folder\n"
    )
    words = [*tiny_words, "training.epochs=1", "loss=balanced_softmax", "dataset.validation=none", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    answer = typed(tmp_path, "evaluate", "ckpt=run", "adjust=temperature")
    assert answer.err.startswith(
        "evaluate.py: adjust=temperature: it is fitted on validation images, of which run has no"
    )
    given = ["adjust=logit_adjustment", "adjust.logit_adjustment.tau=1"]
    answer = typed(tmp_path, "evaluate", "ckpt=run", *given)
    assert answer.err.startswith(
        "evaluate.py: adjust=logit_adjustment: corrects twice, since run was trained with loss="
    )
