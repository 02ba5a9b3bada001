# ruff: noqa: E501 (an input and its error are on one line)
"""Second stages as a user types them: python train.py experiment=ltbench/crt start=RUN."""

import json

import pytest
import torch

from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder

STAGES = ("crt", "lws", "over_smoothing", "gml", "max_norm")


@pytest.fixture(scope="module")
def parent(tmp_path_factory, typed, tiny_words):
    folder = tmp_path_factory.mktemp("second_stages") / "parent"
    tail = ["dataset.imbalance.profile=exponential", "dataset.imbalance.factor=10", "loss.label_smoothing=0.1"]
    answer = typed(folder.parent, "train", *tiny_words, *tail, "model.drop_rate=0", f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_stage_trains_the_head_of_a_run(parent, tmp_path, typed, stage):
    words = [f"experiment=ltbench/{stage}", f"start={parent}", "training.epochs=2"]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err
    assert "the head alone is trained, on features computed once" in answer.out
    (run,) = (tmp_path / "outputs" / "ltbench" / stage).iterdir()
    config = RunFolder(run).read_config()
    own = RunFolder(parent).read_config()
    assert (config.experiment, config.seed, config.dataset) == (f"ltbench/{stage}", own.seed, own.dataset)
    assert (config.model.freeze_ratio, config.augmentation.flip, config.training.epochs) == (1.0, None, 2)
    before, after = (
        torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"] for folder in (parent, run)
    )
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    learnt = {"classifier.factor"} if stage == "lws" else {"classifier.weight", "classifier.bias"}
    assert changed == learnt
    assert typed(tmp_path, "evaluate", f"ckpt={run}", "hydra.run.dir=again").code == 0
    trained, evaluated = (Predictions.load(f / "predictions" / "test.npz").logits for f in (run, tmp_path / "again"))
    assert (trained == evaluated).all()
    assert json.loads((run / "report" / "summary.json").read_text())["experiment"] == f"ltbench/{stage}"


def test_what_each_second_stage_sets(parent, tmp_path, typed, started):
    def config_of(stage, *words):
        answer = typed(tmp_path, "train", f"experiment=ltbench/{stage}", f"start={parent}", *words)
        assert answer.code == 0, answer.err
        return started.pop()[0]

    crt = config_of("crt")
    assert (crt.fresh_head, crt.sampler.name, crt.schedule.name, crt.training.epochs) == (
        True, "class_balanced", "cosine", 30,
    )  # fmt: skip
    assert crt.loss.label_smoothing == 0  # not the parent's
    lws = config_of("lws")
    assert (lws.fresh_head, lws.model.class_factors, lws.sampler.name) == (False, True, "class_balanced")
    smooth = config_of("over_smoothing")
    assert (smooth.loss.label_smoothing, smooth.sampler.name, smooth.fresh_head) == (0.98, "instance", False)
    assert (smooth.schedule.max_lr, smooth.optimizer.weight_decay, smooth.training.epochs) == (0.0005, 0, 20)
    gml = config_of("gml")
    assert (gml.loss.name, gml.sampler.name, gml.fresh_head) == ("gml", "instance", False)
    max_norm = config_of("max_norm")
    assert (max_norm.training.head_max_norm, max_norm.optimizer.weight_decay, max_norm.training.epochs) == (
        0.1,
        0.1,
        10,
    )
    assert config_of("crt", "schedule.max_lr=0.02", "seed=5").schedule.max_lr == 0.02


def test_a_sweep_starts_from_the_run_of_its_seed(parent, tmp_path, typed):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "ce_3").symlink_to(parent)
    words = ["-m", "experiment=ltbench/crt,ltbench/gml", "seed=3", "start=first/ce_${seed}", "training.epochs=1"]
    answer = typed(tmp_path, "train", *words, "hydra.sweep.dir=out", "hydra.sweep.subdir=${experiment}_${seed}")
    assert answer.code == 0, answer.err
    for stage in ("crt", "gml"):
        config = RunFolder(tmp_path / "out" / "ltbench" / f"{stage}_3").read_config()
        assert (config.start, config.seed) == (str(parent.resolve()), 3)
    again = typed(tmp_path, "train", *words, "hydra.sweep.dir=out", "hydra.sweep.subdir=${experiment}_${seed}")
    assert again.code == 0 and "epoch 1/1" not in again.out


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_stage_without_a_run_says_what_it_needs(tmp_path, typed, stage):
    answer = typed(tmp_path, "train", f"experiment=ltbench/{stage}")
    line = f"train.py: experiment=ltbench/{stage}: is a second stage; write start=RUN, the run that it starts from\n"
    assert (answer.code, answer.err) == (2, line)


def test_every_second_stage_is_among_these():
    files = (CONF / "experiment" / "ltbench").glob("*.yaml")
    assert {file.stem for file in files if "start=RUN" in file.read_text()} == set(STAGES)


def test_a_head_that_is_started_with_factors_has_those_of_one(parent, tmp_path, typed):
    words = ["model.class_factors=true", "model.freeze_ratio=1", "schedule.max_lr=1e-30", "optimizer.weight_decay=0"]
    answer = typed(tmp_path, "train", f"start={parent}", *words, "training.epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    metrics = [
        json.loads((run / "report" / "summary.json").read_text())["accuracy"] for run in (parent, tmp_path / "run")
    ]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "model.class_factors=true fresh_head=true",
            "model.class_factors=True: the factors are of the linear head of start=RUN; leave out fresh_head=true",
        ),
        (
            "loss=gml class_weights=inverse",
            "class_weights=inverse: corrects twice, since loss=gml counts the classes of a batch equally already; allowed is class_weights=none",
        ),
        ("loss=gml mixing=mixup", "mixing=mixup: loss=gml is of images of one class; allowed is mixing=none"),
        (
            "loss=gml loss.label_smoothing=0.1",
            "loss.label_smoothing=0.1: has no effect: loss=gml has no smoothed form; allowed is 0",
        ),
        (
            "training.head_max_norm=0.1 training.ema_decay=0.9",
            "training.head_max_norm=0.1: not with training.ema_decay=0.9; leave one out",
        ),
        (
            "training.head_max_norm=0.1 model.class_factors=true",
            "training.head_max_norm=0.1: not with model.class_factors=True; leave one out",
        ),
        ("experiment=exp2", "start={parent}: experiment is quickstart in the run and exp2 here; the run keeps its own"),
    ],
)
def test_what_does_not_fit_together_is_refused(parent, tmp_path, typed, words, line):
    answer = typed(tmp_path, "train", f"start={parent}", *words.split())
    assert (answer.code, answer.err) == (2, f"train.py: {line.format(parent=parent)}\n")


def test_what_a_parent_had_does_not_leak_into_a_second_stage(parent, tmp_path, typed, request):
    odd = [
        *("class_weights=inverse", "class_weights.defer=0.8", "training.head_max_norm=0.5", "controller=cuda"),
        *("augmentation=cuda", "training.clip_norm=1", "sampler=square_root", "sampler.defer=0.5"),
    ]
    answer = typed(tmp_path, "train", f"start={parent}", *odd, "training.epochs=1", "hydra.run.dir=odd")
    assert answer.code == 0, answer.err
    started = request.getfixturevalue("started")
    for stage in ("crt", "max_norm"):
        assert typed(tmp_path, "train", f"experiment=ltbench/{stage}", "start=odd").code == 0
        config = started.pop()[0]
        assert (config.class_weights.defer, config.sampler.defer, config.controller.name) == (0, 0, "constant")
        assert (config.training.clip_norm, config.training.head_max_norm) == (
            None,
            0.1 if stage == "max_norm" else None,
        )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("max_norm", "lws"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("lws", "crt"), ("lws", "gml"))),
        pytest.param("max_norm", "over_smoothing", marks=pytest.mark.slow),
    ],
)
def test_a_stage_starts_from_another(parent, tmp_path, typed, first, second):
    words = ["training.epochs=1", "seed=0"]
    started = [f"experiment=ltbench/{first}", f"start={parent}", "hydra.run.dir=first"]
    assert typed(tmp_path, "train", *started, *words).code == 0
    answer = typed(tmp_path, "train", f"experiment=ltbench/{second}", "start=first", "hydra.run.dir=second", *words)
    assert answer.code == 0, answer.err
    config = RunFolder(tmp_path / "second").read_config()
    assert (config.training.head_max_norm, config.model.class_factors) == (None, second == "lws")


def test_a_fresh_head_may_be_of_another_kind(parent, tmp_path, typed):
    words = [f"start={parent}", "fresh_head=true", "model.cosine_scale=10", "training.epochs=1", "hydra.run.dir=run"]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err


def test_logit_adjustment_after_a_balanced_stage_corrects_twice(parent, tmp_path, typed):
    words = ["experiment=ltbench/crt", f"start={parent}", "training.epochs=1", "hydra.run.dir=run"]
    assert typed(tmp_path, "train", *words).code == 0
    answer = typed(tmp_path, "evaluate", "ckpt=run", "adjust=logit_adjustment")
    line = "evaluate.py: adjust=logit_adjustment: corrects twice, since run was trained with sampler=class_balanced\n"
    assert (answer.code, answer.err) == (2, line)


def test_tau_normalisation_of_a_run_and_of_a_folder_of_runs(parent, tmp_path, typed):
    answer = typed(tmp_path, "evaluate", f"ckpt={parent}", "adjust=tau_normalization", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "out" / "report" / "adjustment.json").read_text())
    weights = torch.load(parent / "checkpoints" / "best.pt", weights_only=True)["model"]
    scale = weights["classifier.weight"].norm(dim=1) ** -record["fitted"]["tau"]
    assert record["scale"] == pytest.approx(scale.tolist(), rel=1e-5)
    plain, found = (Predictions.load(run / "predictions" / "test.npz").logits for run in (parent, tmp_path / "out"))
    expected = (plain - weights["classifier.bias"].numpy()) * scale.numpy()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert record["bias"] == pytest.approx((-weights["classifier.bias"] * scale).tolist(), rel=1e-4, abs=1e-7)
