"""Training a head alone on features that are computed once."""

import json
from dataclasses import replace

import pytest
import torch

from cifar_imbalance.configuration.fields import Augmentation, Loss, Model, Optimizer
from cifar_imbalance.engine import experiment
from cifar_imbalance.engine import features as feature_stage
from cifar_imbalance.engine.experiment import run_experiment
from cifar_imbalance.engine.features import HeadNetwork, features, head_alone
from cifar_imbalance.engine.step import Network
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.models.build import build_model
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runtimes.select import make_runtime

FROZEN = {
    "augmentation": Augmentation(),
    "model": Model(name="test_efficientnet", freeze_ratio=1.0),
    "optimizer": Optimizer(name="sgd", weight_decay=0.01),
}


def history_of(run):
    kept = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    return [[line[name] for name in kept] for line in RunFolder(run).read_history()]


@pytest.mark.parametrize("name", ["test_efficientnet", "resnet32_cifar", "test_resnet", "test_vit", "test_convnext"])
def test_the_head_of_its_features_gives_the_logits_of_the_network(tiny, name):
    runtime = make_runtime(tiny().runtime, deterministic=False)
    built = build_model(Model(name=name), class_count=10, image_size=(32, 32), seed=0)
    if name == "test_vit":
        built = build_model(Model(name=name, resolution=1.0), class_count=10, image_size=(32, 32), seed=0)
    network = Network.on_device(built, runtime)
    network.module.eval()
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    state = dict(network.module.named_parameters()), dict(network.module.named_buffers())
    head = HeadNetwork(**vars(network))
    found = head.gather(torch.from_numpy(features(network, images.numpy(), 4)), torch.arange(5))
    expected = network.logits(*state, network.gather(images.flatten(1), torch.arange(5)))
    torch.testing.assert_close(head.logits(*state, found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", ["cross_entropy", "gml"])
def test_a_head_trained_on_features_is_the_one_trained_on_images(tiny, tmp_path, monkeypatch, capsys, loss):
    config = tiny(**FROZEN, loss=Loss(name=loss), training={"epochs": 3})
    run_experiment(config, tmp_path / "features", [])
    assert "the head alone is trained, on features computed once" in capsys.readouterr().out
    monkeypatch.setattr(feature_stage, "head_alone", lambda config, module: False)
    run_experiment(config, tmp_path / "images", [])
    assert "features" not in capsys.readouterr().out
    for one, other in zip(history_of(tmp_path / "features"), history_of(tmp_path / "images"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    found, expected = (Predictions.load(tmp_path / run / "predictions" / "test.npz") for run in ("features", "images"))
    torch.testing.assert_close(torch.from_numpy(found.logits), torch.from_numpy(expected.logits), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"freeze_ratio": 0.9}},
        {"model": {"drop_rate": 0.2}},
        {"model": {"drop_path_rate": 0.1}},
        {"mixing": {"name": "mixup"}},
        {"augmentation": tuple},
    ],
)
def test_features_are_not_kept_where_they_change(tiny, changed):
    config = tiny(**FROZEN)
    module = build_model(config.model, class_count=10, image_size=(16, 16), seed=0).module
    assert head_alone(config, module)
    for group, values in changed.items():
        value = tiny().augmentation if values is tuple else replace(getattr(config, group), **values)
        config = replace(config, **{group: value})
    assert not head_alone(config, module)


def test_a_head_that_is_a_convolution_gets_no_features(tiny):
    config = tiny(**FROZEN)
    config = replace(config, model=replace(config.model, name="resnetv2_50"))
    assert not head_alone(config, build_model(config.model, class_count=10, image_size=(32, 32), seed=0).module)


def test_a_head_that_is_trained_alone_leaves_the_base_as_it_was(tiny, tmp_path):
    run_experiment(tiny(training={"epochs": 1}, model={"drop_rate": 0.0}), tmp_path / "parent", [])
    parent = RunFolder(tmp_path / "parent")
    config = tiny(**FROZEN, start=str(parent.path), start_sha256=parent.reported_sha256())
    run_experiment(config, tmp_path / "child", [])
    before, after = (
        torch.load(tmp_path / run / "checkpoints" / "last.pt", weights_only=True)["model"]
        for run in ("parent", "child")
    )
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_a_run_with_a_largest_norm_keeps_it_and_goes_on_with_the_same_one(tiny, tmp_path, monkeypatch):
    config = tiny(**FROZEN, training={"epochs": 4, "head_max_norm": 0.2})
    config = replace(
        config, schedule=replace(config.schedule, max_lr=0.5), optimizer=Optimizer(name="sgd", weight_decay=0.0)
    )
    run_experiment(config, tmp_path / "whole", [])
    state = torch.load(tmp_path / "whole" / "checkpoints" / "last.pt", weights_only=True)
    norms = state["model"]["classifier.weight"].norm(dim=1)
    assert norms.max() <= state["norm_limit"] * (1 + 1e-6)
    assert norms.max() == pytest.approx(state["norm_limit"])

    begin = experiment.Loop.plan

    def interrupted(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return begin(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(experiment.Loop, "plan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, tmp_path / "resumed", [])
    run_experiment(replace(config, resume=str(tmp_path / "resumed")), tmp_path / "resumed", [])
    again = torch.load(tmp_path / "resumed" / "checkpoints" / "last.pt", weights_only=True)
    assert again["norm_limit"] == state["norm_limit"]
    assert all(torch.equal(again["model"][name], value) for name, value in state["model"].items())
    assert json.loads((tmp_path / "resumed" / "report" / "summary.json").read_text())["chosen_epoch"]
