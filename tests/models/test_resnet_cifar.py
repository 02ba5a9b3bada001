"""ResNet-32 as the long-tail literature has it, and the cosine head of LDAM."""

import pytest
import torch

from cifar_imbalance.configuration.fields import Model
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.build import build_model
from cifar_imbalance.models.heads import CosineHead
from cifar_imbalance.models.resnet_cifar import BasicBlock


def build(classes=10, **settings):
    model = Model(**{"name": "resnet32_cifar", **settings})
    return build_model(model, class_count=classes, image_size=(32, 32), seed=0)


@pytest.mark.parametrize(("classes", "count"), [(10, 464_154), (100, 470_004)])
def test_the_number_of_parameters(classes, count):
    assert sum(p.numel() for p in build(classes).module.parameters()) == count


def test_there_are_32_layers_and_the_input_is_normalised_as_cifar_10():
    built = build()
    layers = [m for m in built.module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 32
    assert (built.mean, built.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert build().module.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 8, 8)


def test_a_shortcut_that_changes_shape_takes_every_second_pixel_and_adds_zero_channels():
    block = BasicBlock(16, 32, 2).eval()
    torch.nn.init.zeros_(block.conv2.weight)  # only the shortcut is left
    x = torch.rand(1, 16, 8, 8)
    found = block(x)
    torch.testing.assert_close(found[:, 8:24], x[:, :, ::2, ::2])
    assert found[:, :8].abs().max() == found[:, 24:].abs().max() == 0


def test_weights_are_kaiming_normal():
    conv = build().module.layers[-1].conv2.weight  # 64 * 9 inputs
    assert conv.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert build(100).module.fc.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)


def test_a_cosine_head_gives_scaled_cosines():
    head = CosineHead(3, 2, scale=30.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 0.0, 5.0], [1.0, 1.0, 0.0]]))
    logits = head(torch.tensor([[0.0, 0.0, 0.1], [3.0, 0.0, 0.0]]))
    torch.testing.assert_close(logits, torch.tensor([[30.0, 0.0], [0.0, 30 / 2**0.5]]))


def test_a_model_may_have_a_cosine_head():
    module = build(100, cosine_scale=30.0).module
    assert isinstance(module.fc, CosineHead) and module.fc.weight.norm(dim=1).allclose(torch.ones(100))
    logits = module.eval()(torch.rand(4, 3, 32, 32))
    assert logits.shape == (4, 100) and logits.abs().max() <= 30
    tiny = build_model(Model(name="test_efficientnet", cosine_scale=16.0), class_count=10, image_size=(16, 16), seed=0)
    assert isinstance(tiny.module.classifier, CosineHead)


def test_a_model_without_a_linear_head_cannot_have_a_cosine_head():
    with pytest.raises(UsageError, match=r"model\.cosine_scale=30\.0: resnetv2_50 has no single linear head"):
        build_model(Model(name="resnetv2_50", cosine_scale=30.0), class_count=10, image_size=(32, 32), seed=0)
