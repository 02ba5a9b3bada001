"""Networks by name, size and weights; each mistake gives a one-line error."""

import copy
import time

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cifar_imbalance.configuration.fields import Model
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.build import _input_size, build_model
from cifar_imbalance.models.summary import model_summary

NAME = "test_efficientnet"  # timm's smallest, made for tests


def build(*, seed=0, class_count=10, image_size=(32, 32), name=NAME, **settings):
    model = Model(name=name, **settings)
    return build_model(model, class_count=class_count, image_size=image_size, seed=seed)


def same(one: nn.Module, other: nn.Module, *, but: str = "no part") -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(torch.equal(a, b) for (key, a), (_, b) in pairs if not key.startswith(but))


def assert_rejected(match, **settings):
    with pytest.raises(UsageError, match=match) as caught:
        build(**settings)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the network
def test_a_model_has_its_logits_mean_std_and_size():
    built = build(class_count=7)
    assert built.module(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert built.module.training
    assert built.mean == (0.485, 0.456, 0.406) and built.std == (0.229, 0.224, 0.225)
    assert built.input_size == (32, 32)


def test_lite0_is_normalised_by_its_own_mean_and_std():
    built = build(name="tf_efficientnet_lite0")
    assert built.mean == built.std == (0.5, 0.5, 0.5)


def test_equal_seeds_give_equal_weights():
    assert same(build(seed=1).module, build(seed=1).module)
    assert not same(build(seed=1).module, build(seed=2).module)


def test_torchs_random_state_is_unchanged():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    built = build()
    model_summary(built, Model(name=NAME), batch_size=4)
    assert torch.equal(before, torch.get_rng_state())


def test_checking_the_input_size_has_no_side_effects():
    created = timm.create_model(NAME, num_classes=10)
    fresh = {key: value for key, value in created.state_dict().items() if "running" in key}
    built = build().module.state_dict()
    assert fresh and all(torch.equal(value, built[key]) for key, value in fresh.items())


@pytest.mark.parametrize(("resolution", "side"), [(1.0, 456), (0.5, 224), (0.2, 88)])
def test_resolution_is_a_factor_of_the_native_side_in_steps_of_8(resolution, side):
    """The paper's `round(factor * side) // 8 * 8`, for EfficientNet-B5."""
    model = Model(name="tf_efficientnet_b5", resolution=resolution)
    assert _input_size(model, (456, 456), (32, 32)) == (side, side)


def test_resolution_reaches_the_model():
    assert build(resolution=0.5).input_size == (80, 80)  # natively 160


def test_images_need_not_be_square():
    assert build(image_size=(32, 48)).input_size == (32, 48)


def test_a_vision_transformer_is_built_for_the_size_of_the_images():
    built = build(name="test_vit", image_size=(32, 48))
    assert built.module(torch.zeros(2, 3, 32, 48)).shape == (2, 10)


def test_drop_rates_reach_the_model():
    module = build(drop_rate=0.3, drop_path_rate=0.2).module
    assert module.drop_rate == 0.3
    assert any(type(part).__name__ == "DropPath" for part in module.modules())


@pytest.mark.parametrize(("rates", "noisy"), [({}, False), ({"drop_rate": 0.3}, True), ({"drop_path_rate": 0.2}, True)])
def test_a_network_with_a_rate_draws_noise_in_training(rates, noisy):
    assert build(name="test_resnet", **rates).noisy is noisy


def test_noise_without_a_key_is_rejected(monkeypatch):
    class Noisy(nn.Module):
        def forward(self, images):
            return nn.functional.rrelu(images.mean((2, 3)) @ torch.ones(3, 10), training=self.training)

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: Noisy())
    assert_rejected(r"^model\.name: the network draws noise by rrelu; allowed are networks with dropout and drop path")


def test_head_init_glorot_changes_only_the_head():
    ours, timms = build(head_init="glorot").module, build().module
    assert same(ours, timms, but="classifier")
    weight, bias = ours.classifier.weight, ours.classifier.bias
    limit = (6 / sum(weight.shape)) ** 0.5
    assert 0.9 * limit < weight.abs().max() <= limit and not bias.any()


def test_an_unknown_name_is_rejected_with_a_suggestion():
    assert_rejected("model.name=tf_efficientnt_b0: .*did you mean tf_efficientnet_b0", name="tf_efficientnt_b0")


def test_a_name_may_carry_the_tag_of_its_weights():
    assert build(name="test_efficientnet.r160_in1k").input_size == (32, 32)
    assert_rejected(
        r"model.name=test_efficientnet.r160 \(did you mean test_eff.*allowed", name="test_efficientnet.r160"
    )


def test_a_hub_address_is_rejected():
    assert_rejected("model.name=hf-hub:timm/resnet18", name="hf-hub:timm/resnet18")


def test_a_rate_that_the_model_does_not_have_is_rejected():
    assert_rejected("model.drop_path_rate=0.1: vgg11 ", name="vgg11", drop_path_rate=0.1)


def test_an_unsupported_input_size_is_rejected():
    assert_rejected("model.name=inception_v3: does not support images of 32 x 32", name="inception_v3")


def test_a_resolution_of_less_than_8_pixels_is_rejected():
    assert_rejected("model.resolution=0.04", resolution=0.04)


# ---------------------------------------------------------------- weights from a file
@pytest.fixture(scope="module")
def trained():
    return build(seed=9).module


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_weights_come_from_a_file(trained, tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(trained.state_dict(), file)
    assert same(build(weights=str(file)).module, trained)


@pytest.mark.parametrize("name", ["ghostnetv2_100", "resnet32_cifar"])
def test_a_dropout_of_0_is_none_whatever_the_models_default(name):
    module = build_model(Model(name=name), class_count=10, image_size=(64, 64), seed=0).module
    assert getattr(module, "drop_rate", 0.0) == 0
    assert all(part.p == 0 for part in module.modules() if isinstance(part, nn.Dropout))


@pytest.mark.parametrize("nesting", ["state_dict", "model", "model_state", "ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "model._orig_mod.module."])
def test_nested_state_dicts_and_wrapper_prefixes_are_supported(trained, tmp_path, nesting, prefix):
    tensors = {prefix + key: value for key, value in trained.state_dict().items()}
    torch.save({"epoch": 3, nesting: tensors}, tmp_path / "run.pt")
    assert same(build(weights=str(tmp_path / "run.pt")).module, trained)


def test_averaged_weights_are_supported(trained, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(copy.deepcopy(trained))
    torch.save(averaged.state_dict(), tmp_path / "averaged.pt")
    assert same(build(weights=str(tmp_path / "averaged.pt")).module, trained)


def test_a_head_for_other_classes_is_initialised_by_the_seed(trained, tmp_path):
    save_file(trained.state_dict(), tmp_path / "ten.safetensors")
    five = build(seed=3, class_count=5, weights=str(tmp_path / "ten.safetensors")).module
    assert same(five, trained, but="classifier")
    seeded = build(seed=3, class_count=5).module
    assert torch.equal(five.classifier.weight, seeded.classifier.weight)
    assert torch.equal(five.classifier.bias, seeded.classifier.bias)


def test_a_file_without_a_head_keeps_the_seeds_initialisation(trained, tmp_path):
    tensors = {key: value for key, value in trained.state_dict().items() if not key.startswith("classifier")}
    save_file(tensors, tmp_path / "backbone.safetensors")
    assert same(build(seed=3, weights=str(tmp_path / "backbone.safetensors")).module, trained, but="classifier")


def test_a_missing_tensor_is_rejected(trained, tmp_path):
    tensors = trained.state_dict()
    del tensors["conv_stem.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    count = len(tensors)
    assert_rejected(
        rf"{count} of {count + 1} tensors fit test_efficientnet; 1 missing \(conv_stem.weight\)",
        weights=str(tmp_path / "part.safetensors"),
    )


def test_a_tensor_of_another_shape_is_rejected(trained, tmp_path):
    tensors = trained.state_dict() | {"conv_stem.weight": torch.zeros(1, 3, 3, 3)}
    save_file(tensors, tmp_path / "other.safetensors")
    assert_rejected(r"1 of another shape \(conv_stem.weight\)", weights=str(tmp_path / "other.safetensors"))


def test_weights_of_a_foreign_model_are_rejected(tmp_path):
    save_file(build(name="test_vit").module.state_dict(), tmp_path / "foreign.safetensors")
    assert_rejected(
        r"model.weights=.*: 0 of \d+ tensors fit.*missing .*unknown", weights=str(tmp_path / "foreign.safetensors")
    )


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


def test_a_file_that_would_run_code_is_rejected_without_running_it(tmp_path):
    torch.save({"state_dict": Malicious(str(tmp_path / "ran"))}, tmp_path / "bad.pth")
    assert_rejected(r"model.weights=.*bad.pth: rejected", weights=str(tmp_path / "bad.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"not weights at all"])
def test_a_damaged_file_is_rejected(tmp_path, suffix, content):
    (tmp_path / f"damaged{suffix}").write_bytes(content)
    assert_rejected("model.weights=.*damaged", weights=str(tmp_path / f"damaged{suffix}"))


def test_a_file_without_tensors_is_rejected(tmp_path):
    torch.save({"epoch": 3, "notes": [1, 2]}, tmp_path / "empty.pt")
    assert_rejected("contains no state dict", weights=str(tmp_path / "empty.pt"))


def test_a_missing_file_is_rejected(tmp_path):
    assert_rejected("there is no such file", weights=str(tmp_path / "none.pth"))


def test_real_imagenet_weights_load_into_lite0(real_data):
    file = real_data / "lite0.safetensors"
    module = build(name="tf_efficientnet_lite0", class_count=1000, weights=str(file)).module
    tensors = load_file(file)
    assert len(tensors) == 296
    assert tensors.keys() == module.state_dict().keys()
    assert all(torch.equal(tensor, module.state_dict()[key]) for key, tensor in tensors.items())
    hundred = build(name="tf_efficientnet_lite0", class_count=100, weights=str(file)).module
    assert same(hundred.conv_head, module.conv_head) and hundred.classifier.weight.shape == (100, 1280)


# ---------------------------------------------------------------- weights from the hub
def test_without_network_the_error_is_quick_and_names_both_alternatives(monkeypatch, tmp_path):
    import huggingface_hub.utils
    from huggingface_hub import constants

    def unreachable():
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.utils, "get_session", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    assert_rejected("model.pretrained=true: .*model.weights=FILE or model.pretrained=false", pretrained=True)
    assert time.monotonic() - start < 10
    assert not constants.HF_HUB_OFFLINE


def test_weights_from_the_hub_get_a_head_initialised_by_the_seed(monkeypatch, trained):
    import huggingface_hub.utils
    import timm.models._builder

    source = trained.state_dict() | {"classifier.weight": torch.zeros(1000, trained.classifier.in_features)}
    source["classifier.bias"] = torch.zeros(1000)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: None)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", lambda *_, **__: dict(source))
    assert same(build(seed=3, pretrained=True).module, trained, but="classifier")


def test_a_model_without_weights_on_the_hub_is_rejected():
    assert_rejected(
        "model.pretrained=true: timm has no weights of efficientnet_l2", name="efficientnet_l2", pretrained=True
    )


# ---------------------------------------------------------------- the summary
def test_the_summary_shows_layers_parameters_and_the_batch(trained):
    built = build()
    text, line = model_summary(built, Model(name=NAME), batch_size=128)
    count = sum(parameter.numel() for parameter in built.module.parameters())
    assert line == f"{NAME}: {count:,} parameters, {count:,} of them trained, input 32 x 32"
    assert f"Trainable params: {count:,}\n" in text
    assert "[1, 3, 32, 32]" in text and "[1, 10]" in text
    assert "a batch of 128" in text
    assert "Units" not in text


def test_frozen_layers_count_as_not_trainable():
    built = build()
    head = sum(parameter.numel() for parameter in built.module.get_classifier().parameters())
    count = sum(parameter.numel() for parameter in built.module.parameters())
    text, line = model_summary(built, Model(name=NAME, freeze_ratio=1.0), batch_size=2)
    assert line == f"{NAME}: {count:,} parameters, {head:,} of them trained, input 32 x 32"
    assert f"Trainable params: {head:,}\nNon-trainable params: {count - head:,}\n" in text


def test_the_summary_does_not_change_the_model():
    built = build()
    built.module.bn1.eval()
    before = copy.deepcopy(built.module.state_dict())
    model_summary(built, Model(name=NAME), batch_size=4)
    assert built.module.training and not built.module.bn1.training
    assert all(torch.equal(value, before[key]) for key, value in built.module.state_dict().items())
    assert not any(part._forward_hooks for part in built.module.modules())
