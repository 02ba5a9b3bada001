"""An ensemble whose members are one step: each is the run that it would be alone, to within rounding."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cifar_imbalance.configuration.fields import (
    Augmentation,
    AutoAugment,
    ColorJitter,
    Cutout,
    Flip,
    Loss,
    Mixing,
    Model,
    Optimizer,
    Rotation,
    Shift,
)
from cifar_imbalance.engine.assembled import make_loop
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.pace import Pace
from cifar_imbalance.engine.prepared import prepare
from cifar_imbalance.engine.stacked_step import StackedStep
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.methods.controllers import CONTROLLERS
from cifar_imbalance.methods.losses import LOSSES
from cifar_imbalance.methods.mixing import MIXING
from cifar_imbalance.runs.folder import RunFolder, claim

SEEDS = (3, 4)


def loop_of(config, folder, like=None):
    return make_loop(config, prepare(config, like=like), claim(folder, config, []))


def state_of(step):
    update = step.update
    state = {**update.parameters, **update.buffers}
    for number, values in update.optimizer.state_dict()["state"].items():
        state |= {f"{number}.{name}": value for name, value in values.items() if isinstance(value, torch.Tensor)}
    if update.average is not None:
        state |= {f"mean.{name}": value for name, value in update.average.mean.items()}
    return {name: value.detach().double() for name, value in state.items()}


STRONG = Augmentation(
    flip=Flip(), shift=Shift(), rotation=Rotation(), cutout=Cutout(), color_jitter=ColorJitter(), auto_augment=None
)
CHANGES = {
    **{f"loss={name}": {"loss": Loss(name=name)} for name in LOSSES},
    **{f"mixing={name}": {"mixing": Mixing(name=name)} for name in MIXING if name != "none"},
    "augmentation": {"augmentation": STRONG},
    "augmentation on the host": {"augmentation": replace(STRONG, auto_augment=AutoAugment())},
    "sgd": {"optimizer": Optimizer(name="sgd", weight_decay=1e-3)},
    "adam, frozen": {"optimizer": Optimizer(name="adam"), "model": Model("test_efficientnet", freeze_ratio=0.5)},
    "clipping, average": {"training": {"clip_norm": 0.5, "ema_decay": 0.5}},
}


BY_DEFAULT = ("loss=cross_entropy", "mixing=cmo", "clipping, average")  # the others have the slow marker
PARAMETERS = [
    pytest.param(change, id=name, marks=[] if name in BY_DEFAULT else pytest.mark.slow)
    for name, change in CHANGES.items()
]


@pytest.mark.parametrize("change", PARAMETERS)
def test_after_some_steps_each_member_is_what_it_is_alone(change, tiny, tmp_path):
    """A small rate, with which rounding errors do not grow from step to step."""
    config = tiny(**{"schedule": {"max_lr": 1e-5}, **change})
    alone, together = (
        [loop_of(replace(config, seed=seed), tmp_path / f"{name}{seed}") for seed in SEEDS]
        for name in ("alone", "together")
    )
    plans = [loop.plan(0).first(3) for loop in alone]
    for loop, plan in zip(alone, plans, strict=True):
        loop.training_step.begin_epoch(plan)
    step = StackedStep([loop.training_step for loop in together])
    step.begin_epoch(plans)
    for position in range(3):
        expected = torch.stack([loop.training_step(position) for loop in alone])
        torch.testing.assert_close(step(position), expected, rtol=2e-4, atol=1e-5)
    step.end_epoch()
    expected = torch.stack([loop.training_step.records for loop in alone], dim=2)
    torch.testing.assert_close(step.records, expected, rtol=2e-4, atol=1e-5)
    for one, other in zip(alone, together, strict=True):
        mine, theirs = state_of(one.training_step), state_of(other.training_step)
        assert mine.keys() == theirs.keys()
        for name in mine:
            # The first steps of Adam are its rate in size, whatever the size of a gradient that is all rounding.
            torch.testing.assert_close(
                theirs[name], mine[name], rtol=1e-2, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
            )


class Shapes(TorchDispatchMode):
    """The shapes of the tensors of one type that operations in the block give."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype, self.seen = dtype, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and output.dtype == self.dtype:
            self.seen.add(tuple(output.shape))
        return output


def test_a_batch_is_looked_up_without_a_copy_of_all_images_for_each_member(tiny, tmp_path):
    """On a TPU such a copy was two thirds of a step's estimated time."""
    config = tiny()
    ready = prepare(config)
    loops = [loop_of(replace(config, seed=seed), tmp_path / str(seed), like=ready) for seed in SEEDS]
    for loop in loops[1:]:
        loop.training_step.share_images(loops[0].training_step)
    step = StackedStep([loop.training_step for loop in loops])
    step.begin_epoch([loop.plan(0).first(1) for loop in loops])
    with Shapes(torch.uint8) as shapes:
        step(0)
    batch, values = loops[0].config.training.batch_size, loops[0].training_step.images.shape[1]
    assert shapes.seen
    assert max(map(prod, shapes.seen)) == len(SEEDS) * batch * values < loops[0].training_step.images.numel()


# ---------------------------------------------------------------- on the command line
@pytest.fixture(scope="module")
def words(tiny_words):
    return [*tiny_words, "ensemble.members=2", "model.drop_rate=0.2", "schedule.max_lr=0.001"]


def logits(folder):
    return Predictions.load(folder / "predictions" / "test.npz").logits


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory, typed, words):
    folder = tmp_path_factory.mktemp("ensemble")
    answer = typed(folder, "train", *words, "ensemble.together=one_by_one", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    return folder / "run"


def close(one, other):
    """Whether two runs of the same seed, members of one or of many, have logits that differ by rounding alone."""
    return np.abs(logits(one) - logits(other)).max() < 0.02 * np.abs(logits(one)).max()


def test_a_stacked_ensemble_has_the_members_that_it_has_one_by_one(typed, words, tmp_path, one_by_one):
    same_members(typed, words, tmp_path, one_by_one)


@pytest.mark.slow
@pytest.mark.parametrize("controller", sorted(set(CONTROLLERS) - {"constant"}))
def test_so_it_has_with_each_controller(controller, typed, words, tmp_path):
    levels = CONTROLLERS[controller].changes == "level"
    words = [*words, f"controller={controller}", *(["augmentation=[cuda]"] if levels else [])]
    answer = typed(tmp_path, "train", *words, "ensemble.together=one_by_one", "hydra.run.dir=expected")
    assert answer.code == 0, answer.err
    same_members(typed, words, tmp_path, tmp_path / "expected")


def same_members(typed, words, tmp_path, expected):
    answer = typed(tmp_path, "train", *words, "ensemble.together=stacked", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    run = tmp_path / "run"
    assert RunFolder(run).read_config().ensemble.together == "stacked"
    for member in ("members/0", "members/1"):
        assert close(run / member, expected / member), member
        files = {str(file.relative_to(run / member)) for file in (run / member).rglob("*") if file.is_file()}
        same = {str(file.relative_to(expected / member)) for file in (expected / member).rglob("*") if file.is_file()}
        assert files == same
        assert "epoch 2/2" in (run / member / "train.log").read_text()
    assert "all in one step" in (run / "train.log").read_text()


def test_an_interrupted_stack_goes_on_and_members_at_other_epochs_catch_up(
    typed, words, tmp_path, one_by_one, monkeypatch
):
    end = Loop.end_epoch

    def interrupted(loop, plan, *arguments):
        if loop.config.seed == 1:
            raise KeyboardInterrupt
        return end(loop, plan, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "end_epoch", interrupted)
        answer = typed(tmp_path, "train", *words, "ensemble.together=stacked", "hydra.run.dir=run")
    assert answer.code == 130 and "resume with" in answer.err
    answer = typed(tmp_path, "train", "resume=run")
    assert answer.code == 0, answer.err
    for member in ("members/0", "members/1"):
        assert close(tmp_path / "run" / member, one_by_one / member)


def test_a_member_that_fails_is_named_and_the_others_go_on(typed, words, tmp_path, one_by_one, monkeypatch):
    end = Loop.end_epoch

    def diverges(loop, *arguments):
        if loop.config.seed == 0:
            raise TrainingFailed("the loss is nan")
        return end(loop, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "end_epoch", diverges)
        answer = typed(tmp_path, "train", *words, "ensemble.together=stacked", "hydra.run.dir=run")
    assert answer.code == 1
    assert answer.err.startswith("train.py: 1 of 2 members failed: member 0: the loss is nan; resume with: ")
    assert close(tmp_path / "run" / "members" / "1", one_by_one / "members" / "1")
    assert "Traceback" in (tmp_path / "run" / "members" / "0" / "train.log").read_text()


def test_a_step_that_fails_is_every_members_failure(typed, words, tmp_path, monkeypatch):
    def fails(step, plans):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(StackedStep, "begin_epoch", fails)
    answer = typed(tmp_path, "train", *words, "ensemble.together=stacked", "hydra.run.dir=run")
    assert answer.code == 1
    assert "2 of 2 members failed: member 0: RuntimeError: no such kernel; member 1: " in answer.err
    assert "resume with: " in answer.err and "Traceback" not in answer.err
    assert "no such kernel" in (tmp_path / "run" / "members" / "1" / "train.log").read_text()


def test_what_is_said_of_the_step_of_all_is_in_the_ensembles_log(typed, words, tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "step", lambda pace, images: "others compute")
    answer = typed(tmp_path, "train", *words, "ensemble.together=stacked", "training.epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    logs = {name: (tmp_path / "run" / name).read_text() for name in ("train.log", "members/0/train.log")}
    assert "others compute" in logs["train.log"] and "others compute" not in logs["members/0/train.log"]


def test_heads_alone_are_stacked_on_the_features_of_each_members_own_network(typed, words, tmp_path, one_by_one):
    second = [
        f"start={one_by_one}",
        "fresh_head=true",
        "model.freeze_ratio=1",
        "model.drop_rate=0",
        "augmentation=none",
    ]
    for together in ("one_by_one", "stacked"):
        typing = [*second, f"ensemble.together={together}", f"hydra.run.dir={together}"]
        answer = typed(tmp_path, "train", *typing)
        assert answer.code == 0, answer.err
    for member in ("members/0", "members/1"):
        assert close(tmp_path / "stacked" / member, tmp_path / "one_by_one" / member)
