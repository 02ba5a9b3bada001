"""The forms for XLA's CPU client equal the plain convolutions, in value and gradient."""

import copy
from itertools import product

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from cifar_imbalance.runtimes.xla import XlaRuntime
from cifar_imbalance.runtimes.xla_convolutions import PatchConv2d, use_xla_cpu_forms

SIZES = ((1, 1), (1, 3), (2, 2), (2, 5), (4, 4), (5, 5), (9, 9), (17, 17))
CASES = [
    (kernel, size, padding, stride)
    for kernel, size, padding, stride in product((1, 3, 5, 7), SIZES, (*range(4), "same"), (1, 2, 3))
    if padding == "same" or min(size) + 2 * padding >= kernel
]


def pair(inputs, outputs, kernel, padding=0, stride=1, **options):
    """A plain convolution in float64 and one with the same weights in the form for XLA."""
    kind = Conv2dSame if padding == "same" else nn.Conv2d
    plain = kind(inputs, outputs, kernel, stride, 0 if padding == "same" else padding, dtype=torch.float64, **options)
    form = copy.deepcopy(plain)
    use_xla_cpu_forms(form)
    assert form.forward.__func__ is not kind.forward
    return plain, form


def assert_equal(plain, form, size):
    images = [torch.randn(3, plain.in_channels, *size, dtype=torch.float64, requires_grad=True)]
    images.append(images[0].detach().clone().requires_grad_())
    results = [plain(images[0]), form(images[1])]
    torch.testing.assert_close(results[1], results[0])
    direction = torch.randn_like(results[0])
    for result in results:
        result.backward(direction)
    torch.testing.assert_close(images[1].grad, images[0].grad)
    for (name, expected), (_, parameter) in zip(plain.named_parameters(), form.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=name)


@pytest.mark.parametrize(("kernel", "size", "padding", "stride"), CASES)
def test_a_depthwise_form_is_the_plain_convolution_in_float64(kernel, size, padding, stride):
    assert_equal(*pair(6, 6, kernel, padding, stride, groups=6, bias=False), size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_pointwise_form_is_the_plain_convolution_in_float64(size, bias):
    assert_equal(*pair(6, 4, 1, bias=bias), size)


@pytest.mark.parametrize(("kernel", "size", "padding", "stride"), CASES[::7])
def test_the_form_of_a_stem_is_the_plain_convolution_in_float64(kernel, size, padding, stride):
    assert_equal(*pair(3, 8, kernel, padding, stride), size)


def test_logits_gradients_and_names_of_a_model_are_unchanged():
    plain = timm.create_model("tf_efficientnet_b0", num_classes=10).double().eval()
    form = copy.deepcopy(plain)
    use_xla_cpu_forms(form)
    assert list(form.state_dict()) == list(plain.state_dict())
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    logits = [model(images) for model in (plain, form)]
    torch.testing.assert_close(logits[1], logits[0])
    for values in logits:
        values.square().sum().backward()
    for (name, expected), (_, parameter) in zip(plain.named_parameters(), form.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=name)


def test_in_bfloat16_a_form_has_the_type_of_the_plain_convolution_and_sums_in_float32():
    plain = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 4, 1))
    form = copy.deepcopy(plain)
    use_xla_cpu_forms(form)
    for side in (1, 2, 8):
        images = torch.randn(4, 8, side, side)
        expected = plain(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = form(images)
        assert found.dtype == torch.bfloat16
        assert (found - expected).norm() <= 0.03 * expected.norm()
        found.float().sum().backward()
        assert all(parameter.grad.dtype == torch.float32 for parameter in form.parameters())


@pytest.mark.parametrize(("name", "forms"), [("xla", True), ("tpu", False)])
def test_the_forms_are_for_the_cpu_client_alone(name, forms):
    runtime = object.__new__(XlaRuntime)  # without its device
    runtime.name, runtime.place = name, lambda tensor: tensor
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters())
    runtime.prepare_optimizer(optimizer)
    (module,) = runtime.place_model(nn.Sequential(nn.Conv2d(3, 8, 3)))
    assert (type(module) is PatchConv2d) == forms == ("step" in optimizer.__dict__)


def test_models_can_be_stacked():
    models = [nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 4, 1)) for _ in range(3)]
    for model in models:
        use_xla_cpu_forms(model)
    for images in (torch.randn(2, 8, 3, 3), torch.randn(2, 8, 9, 9)):

        def loss(parameters, images=images):
            return functional_call(models[0], parameters, (images,)).square().sum()

        stacked, _ = stack_module_state(models)
        gradients = vmap(grad(loss))(stacked)
        for number, model in enumerate(models):
            for name, gradient in grad(loss)(dict(model.named_parameters())).items():
                torch.testing.assert_close(gradients[name][number], gradient)
