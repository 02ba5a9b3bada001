"""What is trained and what is frozen: parameters, and batch statistics."""

import pytest
import torch
from torch import nn

from cifar_imbalance.configuration.fields import Model
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.build import build_model
from cifar_imbalance.models.freezing import check_head, set_trainable
from cifar_imbalance.models.heads import base_and_head


def network(**settings):
    model = Model(name="test_efficientnet", **settings)
    return build_model(model, class_count=10, image_size=(32, 32), seed=0).module, model


def moved_by_a_step(module):
    """The names of what a training step changes: parameters, and batch statistics."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    optimizer.step()
    return {
        name
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked") and not torch.equal(value, before[name])
    }


def test_the_base_is_everything_but_the_classifier():
    module, _ = network()
    base, head = base_and_head(module)
    assert base[0] is module.conv_stem and base[-1] is module.bn2
    assert head == [module.classifier]
    parameters = [p for layer in [*base, *head] for p in layer.parameters(recurse=False)]
    assert sum(p.numel() for p in parameters) == sum(p.numel() for p in module.parameters())


def test_without_freezing_everything_changes():
    module, model = network()
    set_trainable(module, model, head_only=False)
    names = {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}
    assert names - moved_by_a_step(module) == set()


def test_in_burn_in_only_the_head_changes_and_batch_statistics_are_fixed():
    module, model = network()
    set_trainable(module, model, head_only=True)
    assert moved_by_a_step(module) == {"classifier.weight", "classifier.bias"}


def test_after_burn_in_the_base_changes_again():
    module, model = network()
    set_trainable(module, model, head_only=True)
    set_trainable(module, model, head_only=False)
    assert "conv_stem.weight" in moved_by_a_step(module)


def test_freeze_ratio_freezes_the_first_layers_of_the_base():
    module, model = network(freeze_ratio=0.5)
    set_trainable(module, model, head_only=False)
    base, _ = base_and_head(module)
    learns = [all(p.requires_grad for p in layer.parameters(recurse=False)) for layer in base]
    half = round(len(base) / 2)
    assert learns == [False] * half + [True] * (len(base) - half)
    still = {name for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d) and part in base[:half]}
    moved = moved_by_a_step(module)
    assert still and not any(f"{name}.running_mean" in moved for name in still)


def test_frozen_batch_norms_keep_their_statistics_but_train_their_weights():
    module, model = network(freeze_batch_norm=True)
    set_trainable(module, model, head_only=False)
    moved = moved_by_a_step(module)
    assert not any("running" in name for name in moved)
    assert {"bn1.weight", "conv_stem.weight", "classifier.weight"} <= moved


def test_a_model_without_a_known_head_cannot_be_frozen():
    check_head(nn.Linear(2, 2), Model(name="x"), burnin_epochs=0)
    with pytest.raises(
        UsageError, match=r"model\.freeze_ratio=0\.5: timm does not define which layer of x is its head"
    ):
        check_head(nn.Linear(2, 2), Model(name="x", freeze_ratio=0.5), burnin_epochs=0)
    with pytest.raises(UsageError, match=r"schedule\.four_phases\.burnin_epochs=3: timm does not define"):
        check_head(nn.Linear(2, 2), Model(name="x"), burnin_epochs=3)


def test_of_a_head_with_class_factors_these_alone_are_trained():
    module, model = network(class_factors=True, freeze_ratio=1.0)
    set_trainable(module, model, head_only=False)
    assert moved_by_a_step(module) == {"classifier.factor"}


def test_a_class_factor_multiplies_the_logit_of_its_class():
    plain, _ = network()
    scaled, _ = network(class_factors=True)
    scaled.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(scaled.eval()(images), plain.eval()(images))
    with torch.no_grad():
        scaled.classifier.factor.copy_(torch.arange(10.0))
    torch.testing.assert_close(scaled(images), plain(images) * torch.arange(10.0))


def test_class_factors_need_a_linear_head():
    model = Model(name="vgg11", class_factors=True, cosine_scale=10.0)
    with pytest.raises(UsageError, match="class_factors=true: vgg11 has no single linear head; leave it out"):
        build_model(model, class_count=10, image_size=(32, 32), seed=0)
