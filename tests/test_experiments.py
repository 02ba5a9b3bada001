"""The configurations of the paper's three experiments match its tables 5, 7 and 10."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from runtimes.probe import config_of, loop_of
from torch._subclasses.fake_tensor import FakeTensorMode

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.engine.step import Network, training_loss
from cifar_imbalance.models.build import build_model
from cifar_imbalance.models.freezing import set_trainable
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal


@pytest.fixture
def fields(typed, tmp_path):
    """The fields of an experiment as `--cfg job` shows them."""

    def of(*words):
        answer = typed(tmp_path, "train", *words, "--cfg", "job")
        assert answer.code == 0, answer.err
        return OmegaConf.create(answer.out)

    return of


EXP2 = {
    "dataset.name": "cifar100",
    "dataset.validation": "test",
    "dataset.imbalance.profile": "none",
    "model.name": "tf_efficientnet_b0.aa_in1k",
    "model.pretrained": True,
    "model.resolution": None,
    "model.drop_rate": 0.0,
    "model.freeze_batch_norm": False,
    "optimizer.name": "adam",
    "schedule.name": "constant",
    "schedule.max_lr": 0.001,
    "training.epochs": 10,
    "training.batch_size": 32,
    "loss.label_smoothing": 0.0,
    "augmentation.flip": None,
    "augmentation.shift": None,
    "augmentation.pad_crop": None,
    "augmentation.cutout": None,
    "augmentation.color_jitter": None,
    "checkpoint.choose": "last",
    "ensemble.members": 1,
}
EXP1 = {
    "dataset.name": "cifar10",
    "dataset.validation": "test",
    "model.name": "tf_efficientnet_b5.aa_in1k",  # model_name
    "model.pretrained": True,
    "model.resolution": 1.0,  # Resolution
    "model.freeze_ratio": 0.0,  # freeze_ratio
    "model.freeze_batch_norm": True,
    "model.head_init": "glorot",
    "model.drop_rate": 0.5,  # dropout
    "training.batch_size": 128,  # batch_size
    "training.epochs": 38,
    "optimizer.name": "sgd",
    "optimizer.sgd.momentum": 0.9,
    "optimizer.sgd.nesterov": False,
    "optimizer.weight_decay": 0.0,
    "schedule.name": "four_phases",
    "schedule.four_phases.burnin_epochs": 3,
    "schedule.four_phases.burnin_lr": 0.0001,
    "schedule.four_phases.warmup_epochs": 10,
    "schedule.four_phases.flat_epochs": 5,
    "schedule.four_phases.cooldown_epochs": 20,
    "schedule.min_lr": 0.0001,
    "schedule.max_lr": 0.03,
    "schedule.four_phases.per_step": False,
    "loss.label_smoothing": 0.0,
    "augmentation.flip.probability": 0.5,
    "augmentation.shift": None,
    "augmentation.cutout.count": 1,  # cutout_num
    "augmentation.cutout.size_fraction": 0.25,  # cutout_size
    "augmentation.cutout.fill": 127,  # cval
    "augmentation.color_jitter.probability": 1.0,  # random_color
    "augmentation.color_jitter.contrast": [0.8, 1.2],
    "augmentation.color_jitter.saturation": [0.5, 1.5],
    "checkpoint.choose": "best",
    "checkpoint.monitor": "accuracy",
}


@pytest.mark.parametrize(
    "experiment, expected",
    [
        ("exp1", EXP1),
        ("exp2", EXP2),
        ("exp3_ensemble", {**EXP2, "ensemble.members": 5, "ensemble.combine": "mean_probability"}),
    ],
)
def test_an_experiment_matches_the_paper(experiment, expected, fields):
    found = fields(f"experiment={experiment}")
    assert {path: OmegaConf.select(found, path) for path in expected} == expected


def test_experiment_1_is_traced_at_456_pixels_in_bfloat16_and_batches_of_128():
    """The step's pure function on tensors with shapes but no values: the real batch needs an accelerator."""
    experiment = config_of(["experiment=exp1", "model.pretrained=false", "runtime=cpu"])
    batch = experiment.training.batch_size
    network = Network.on_device(
        build_model(experiment.model, class_count=10, image_size=(32, 32), seed=0),
        make_runtime(experiment.runtime, deterministic=False),
    )
    set_trainable(network.module, experiment.model, head_only=False)
    policy = Policy(experiment.augmentation, height=32, width=32)
    draws = policy.draw(0, 0, labels=np.zeros((1, batch), dtype=np.int64), levels=np.zeros(10, dtype=np.int64))
    seen = {}
    network.module.register_forward_pre_hook(lambda _, inputs: seen.update(input=inputs[0].shape))
    network.module.classifier.register_forward_hook(lambda *a: seen.update(logits=a[2].shape, dtype=a[2].dtype))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        parameters, buffers = (
            {name: mode.from_tensor(value) for name, value in values}
            for values in (network.module.named_parameters(), network.module.named_buffers())
        )
        loss, _ = training_loss(
            parameters,
            buffers,
            torch.empty(50_000, 32 * 32 * 3, dtype=torch.uint8),
            torch.empty(50_000, dtype=torch.int64),
            torch.empty(batch, dtype=torch.int64),
            {name: mode.from_tensor(torch.from_numpy(values[0])) for name, values in draws.items()},
            {"counts": torch.empty(10), "weight": torch.empty(10)},
            mode.from_tensor(torch.tensor(0)),
            network=network,
            policy=policy,
            loss=experiment.loss,
            mixing="none",
        )
        loss.backward()
    assert seen == {"input": (128, 3, 456, 456), "logits": (128, 10), "dtype": torch.bfloat16}
    learning = [value for value in parameters.values() if value.requires_grad]
    assert len(learning) > 400 and all(value.grad.shape == value.shape for value in learning)


@pytest.mark.slow
def test_experiment_1_runs_with_a_reduced_batch_on_the_cpu(tmp_path, real_data):
    """Burn-in and warm-up of B5 at 456 px in bfloat16, two steps of two images each."""
    words = [
        "experiment=exp1",
        "model.pretrained=false",
        f"dataset.root={real_data / 'cifar10'}",
        f"dataset.cache_dir={tmp_path / 'cache'}",
        "training.batch_size=2",
        "runtime=cpu",
    ]
    loop = loop_of(words, tmp_path / "run")
    with Terminal() as terminal, terminal.progress(steps=2, done=0) as live:
        plans = [loop.plan(epoch).first(2) for epoch in (0, 4)]
        losses = [loop.train_epoch(plan, live).losses for plan in plans]
    assert [plan.phase for plan in plans] == ["burnin", "warmup"]
    assert all(loss.min() > 0 and loss.max() < 10 for loss in losses)
