"""On XLA a whole run is one graph for training and one for evaluation, whatever it does, and the same on any devices.

Some runs of several methods at once are tested by default; `pytest -m slow` adds one for each method of every table.
"""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cifar_imbalance.augment.policy import OPERATORS
from cifar_imbalance.configuration.fields import LEVEL_CONTROLLERS
from cifar_imbalance.methods.class_weights import CLASS_WEIGHTS
from cifar_imbalance.methods.controllers import CONTROLLERS
from cifar_imbalance.methods.losses import LOSSES
from cifar_imbalance.methods.mixing import MIXING
from cifar_imbalance.methods.optimizers import OPTIMIZERS
from cifar_imbalance.methods.samplers import SAMPLERS
from cifar_imbalance.methods.schedules import SCHEDULES

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_xla") is None, reason="torch_xla is not installed: pip install -e '.[xla]'"
)

PROGRAM = Path(__file__).with_name("whole_runs.py")
SHORT = [
    "experiment=quickstart",
    "model.name=small_network",
    "training.epochs=3",
    "schedule.warmup_fraction=0",
    "schedule.max_lr=0.001",
    "plots.png=false",
    "plots.pdf=false",
]
BURN_IN = [
    "schedule=four_phases",
    "schedule.four_phases.burnin_epochs=1",
    "schedule.four_phases.warmup_epochs=1",
    "schedule.four_phases.flat_epochs=1",
    "schedule.four_phases.cooldown_epochs=0",
]
MARGINS = ["loss=ldam", "model.cosine_scale=30"]

# By default: what is switched between the epochs is switched in them.
SOME = {
    "ldam-deferred_weights-cmo_until-ema-clip-dropout": [
        *MARGINS,
        "class_weights=inverse",
        "class_weights.defer=0.34",
        "mixing=cmo",
        "mixing.until=0.67",
        "augmentation=[flip,auto_augment,cutout]",
        "training.ema_decay=0.9",
        "training.clip_norm=1",
        "model.drop_rate=0.2",
    ],
    "focal-recall_weights-deferred_sampler": [
        "loss=focal",
        "controller=recall_weights",
        "sampler=class_balanced",
        "sampler.defer=0.34",
        "augmentation=paper",
    ],
    "cuda": ["controller=cuda", "augmentation=cuda"],  # classifies other numbers of training images in each epoch
    "burn_in-sgd": ["optimizer=sgd", *BURN_IN],
    "distilled-label_smoothing-resolution": ["teacher=random", "loss.label_smoothing=0.1", "model.resolution=2"],
    "second_stage": ["start={cuda}", "augmentation=flip", "model.freeze_ratio=1", "fresh_head=true"],
}

NEEDED = {  # by a method, to be allowed
    "loss=ldam": MARGINS[1:],
    "schedule=four_phases": BURN_IN[1:],
    "schedule=step": ["schedule.step.milestones=[0.34,0.67]"],
    **{f"controller={name}": ["augmentation=cuda"] for name in LEVEL_CONTROLLERS},
    "augmentation=cuda": ["controller=level_by_recall"],
}
TABLES = {
    "loss": LOSSES,
    "mixing": MIXING,
    "controller": CONTROLLERS,
    "class_weights": CLASS_WEIGHTS,
    "sampler": SAMPLERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augmentation": OPERATORS,
}
METHODS = [f"{group}={name}" for group, table in TABLES.items() for name in table]
ALL = {
    **{method: [method, *NEEDED.get(method, [])] for method in METHODS},
    "nesterov": ["optimizer=sgd", "optimizer.sgd.nesterov=true"],
    "ema": ["training.ema_decay=0.9"],
    "clip_norm": ["training.clip_norm=1"],
    "dropout": ["model.drop_rate=0.2"],
    "frozen layers": ["model.freeze_ratio=0.5"],
    "frozen batch norm": ["model.freeze_batch_norm=true"],
    "bfloat16": ["runtime.precision=bfloat16"],
    "no validation": ["dataset.validation=none"],
    "class factors": ["start={loss=cross_entropy}", "model.class_factors=true"],
    "head_max_norm": ["training.head_max_norm=0.5"],
    "head alone": ["start={loss=cross_entropy}", "model.freeze_ratio=1", "~augmentation"],
}
GRAPHS = {  # of the runs that have more than one for training, one for evaluation and no other, and why
    "burn_in-sgd": {"training": 2},  # one for each phase: while the head alone learns, a step needs no other gradients
    "schedule=four_phases": {"training": 2},
    "head_max_norm": {
        "training": 2
    },  # a step's outputs are in the order of their age, and weights that were cut are new
    "head alone": {"evaluation": 3},  # of images to features, features to logits, and, in the end, images to logits
}


LARGEST_DIFFERENCE = {"bfloat16": 2e-2}  # of losses, relative, between numbers of devices; otherwise 1e-4
RUNS = {"some": SOME, "all": ALL}


def of_each(*runs):
    """(runs, name) of each of SOME and, marked as slow, of ALL."""
    cases = [(group, name) for group in runs for name in RUNS[group]]
    return [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] == "all"), id=case[1]) for case in cases]


def chosen_by(words):
    """By loss: by macro F1 two epochs of such a short run can be equal but for one image, which rounding decides."""
    return [] if "dataset.validation=none" in words else ["checkpoint.monitor=loss"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """What whole_runs.py saw of each of the runs, "some" or "all", on so many XLA devices."""

    @cache
    def found(runs, devices):
        folder = tmp_path_factory.mktemp("watched")
        of_all = [*SHORT, "runtime=xla", f"runtime.devices={devices}"]
        asked = {name: [*of_all, *chosen_by(words), *words] for name, words in RUNS[runs].items()}
        # Most of the time would go to LLVM's optimiser, which these tests do not test.
        environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0", "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, str(PROGRAM), str(folder / "answer.json")]
        done = subprocess.run(
            command, input=json.dumps(asked), cwd=folder, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads((folder / "answer.json").read_text())

    return found


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(("runs", "name"), of_each("some", "all"))
def test_a_run_compiles_one_graph_for_training_and_one_for_evaluation(watched, runs, name, devices):
    seen = watched(runs, devices)[name]
    assert seen["graphs"] == {"training": 1, "evaluation": 1, "elsewhere": 0} | GRAPHS.get(name, {})
    assert seen["fallbacks"] == []  # to the CPU


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(("runs", "name"), of_each("some", "all"))
def test_an_epoch_is_sent_its_plan_and_read_its_records(watched, runs, name, devices):
    """Nothing is sent or read in a step but images that Pillow augments."""
    seen = watched(runs, devices)[name]
    once = [kind for kind in seen["shardings"] if kind.startswith(("plan.", "classes.", "records"))]
    with_position = len(once) + 1
    assert seen["epochs"][-1] == {"sent": with_position + seen["host_images"] * seen["steps"], "read": 1}


@pytest.mark.parametrize(("runs", "name"), of_each("some", "all"))
def test_batches_are_split_over_the_devices_and_all_else_is_on_each(watched, runs, name):
    for kind, shardings in watched(runs, 2)[name]["shardings"].items():
        if kind == "batch":  # images, and features where the head alone is trained
            assert all(sharding.startswith("{devices=[2,1") for sharding in shardings)
            continue
        (sharding,) = shardings
        if kind.startswith("plan.") and kind not in ("plan.rate", "plan.position", "plan.seed"):
            assert sharding.startswith("{devices=[1,2")  # [steps, batch, ...]
        else:
            assert sharding == "{replicated}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "name", "devices"),
    [("all", name, 2) for name in ALL] + [("some", name, devices) for name in SOME for devices in (2, 4, 8)],
)
def test_losses_and_logits_on_several_devices_are_those_on_one(watched, runs, name, devices):
    one, several = watched(runs, 1)[name], watched(runs, devices)[name]
    assert several["losses"] == pytest.approx(one["losses"], rel=LARGEST_DIFFERENCE.get(name, 1e-4))
    if name != "bfloat16":
        np.testing.assert_allclose(several["logits"], one["logits"], rtol=1e-3, atol=1e-3)
