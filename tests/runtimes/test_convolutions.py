"""The forms for small maps equal the plain convolutions, in value and gradient."""

import copy
from itertools import product

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from cifar_imbalance.runtimes.convolutions import use_small_map_forms

SIZES = ((1, 1), (1, 3), (2, 2), (2, 5), (4, 4), (5, 5), (17, 17))
CASES = [
    (kernel, size, padding, stride)
    for kernel, size, padding, stride in product((1, 3, 5, 7), SIZES, (*range(4), "same"), (1, 2))
    if padding == "same" or min(size) + 2 * padding >= kernel
]


def pair(kernel, padding, stride, **options):
    """A plain convolution in float64 and one with the same weights in the other forms."""
    kind = Conv2dSame if padding == "same" else nn.Conv2d
    plain = kind(
        6, 6, kernel, stride=stride, padding=0 if padding == "same" else padding, dtype=torch.float64, **options
    )
    small = copy.deepcopy(plain)
    use_small_map_forms(small, 256)
    assert small.forward.__func__ is not kind.forward
    return plain, small


def assert_same_gradients(plain, small, size):
    """Returns the outputs of the plain and of the other form."""
    images = [torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)]
    images.append(images[0].detach().clone().requires_grad_())
    results = [plain(images[0]), small(images[1])]
    direction = torch.randn_like(results[0])
    for result in results:
        result.backward(direction)
    torch.testing.assert_close(images[1].grad, images[0].grad)
    for (name, expected), (_, parameter) in zip(plain.named_parameters(), small.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=name)
    return results


@pytest.mark.parametrize(("kernel", "size", "padding", "stride"), CASES)
def test_depthwise_values_and_gradients_are_the_plain_convolutions_in_float64(kernel, size, padding, stride):
    assert torch.equal(*assert_same_gradients(*pair(kernel, padding, stride, groups=6, bias=False), size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_values_and_gradients_are_the_plain_convolutions_in_float64(size, bias):
    torch.testing.assert_close(*assert_same_gradients(*pair(1, 0, 1, bias=bias), size))


def test_a_depthwise_gradient_equals_finite_differences():
    _, small = pair(3, "same", 2, groups=6, bias=False)
    images = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda images, weight: functional_call(small, {"weight": weight}, (images,)), (images, small.weight)
    )


def test_logits_names_and_parameters_of_a_model_are_unchanged():
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=10).eval()
    small = copy.deepcopy(plain)
    use_small_map_forms(small, 256)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(small(images), plain(images), rtol=1e-4, atol=1e-5)
    assert plain.state_dict().keys() == small.state_dict().keys()


def test_a_copy_of_a_model_computes_with_its_own_weights():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False))
    use_small_map_forms(model, 256)
    other = copy.deepcopy(model)
    nn.init.zeros_(other[0].weight)
    images = torch.randn(2, 4, 2, 2)
    assert torch.count_nonzero(other(images)) == 0
    assert torch.count_nonzero(model(images)) > 0


def test_models_can_be_stacked():
    models = [nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 4, 1)) for _ in range(3)]
    for model in models:
        use_small_map_forms(model, 256)
    images = torch.randn(2, 8, 3, 3)

    def loss(parameters):
        return functional_call(models[0], parameters, (images,)).square().sum()

    stacked, _ = stack_module_state(models)
    gradients = vmap(grad(loss))(stacked)
    for number, model in enumerate(models):
        for name, gradient in grad(loss)(dict(model.named_parameters())).items():
            torch.testing.assert_close(gradients[name][number], gradient)


def test_a_pickled_model_is_equal(tmp_path):
    plain = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 16, 1)).eval()
    ours = copy.deepcopy(plain)
    use_small_map_forms(ours, 256)
    images = torch.randn(2, 8, 3, 3)
    torch.save(ours, tmp_path / "model.pt")
    torch.testing.assert_close(torch.load(tmp_path / "model.pt", weights_only=False)(images), plain(images))


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_in_bfloat16_results_are_those_of_float32_whatever_memory_held(kind, depthwise, kernel, stride):
    channels = 8
    padding = 0 if kind is Conv2dSame else kernel // 2
    groups = channels if depthwise else 1
    plain = kind(channels, channels, kernel, stride, padding, groups=groups, bias=False)
    ours = nn.Sequential(copy.deepcopy(plain)).to(memory_format=torch.channels_last)
    use_small_map_forms(ours, 4)
    for side in (1, 2, 3, 4, 8):
        images = torch.randn(32, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
        expected = plain(images)
        direction = torch.randn_like(expected)
        gradients = torch.autograd.grad(expected, (images, plain.weight), direction)
        for _ in range(3):
            fill_freed_memory()
            with torch.autocast("cpu", torch.bfloat16):
                found = ours(images)
            fill_freed_memory()
            found = (found, *torch.autograd.grad(found, (images, ours[0].weight), direction.to(found.dtype)))
            for value, wanted in zip(found, (expected, *gradients), strict=True):
                assert (value - wanted).norm() <= 0.03 * wanted.norm() + 1e-6


def fill_freed_memory():
    """Leave large numbers in memory that is then free, for whoever reads what it did not write."""
    sizes = (64, 256, 1024, 4096, 16384, 65536)
    held = [torch.full((size,), 1e25, dtype=dtype) for size in sizes * 3 for dtype in (torch.float32, torch.bfloat16)]
    del held
