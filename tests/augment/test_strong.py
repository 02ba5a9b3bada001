"""Strong augmentation on the host: the operators are torchvision's, the draws follow the methods' laws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugment as Torchvisions
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from cifar_imbalance.augment import strong
from cifar_imbalance.augment.operator import Drawn
from cifar_imbalance.augment.pillow_operators import FUNCTIONS, NUMBERS
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.fields import Augmentation, AutoAugment, Cuda, Flip, PadCrop, RandAugment

GREY = (128, 128, 128)


@pytest.fixture(scope="module")
def picture():
    """A smooth picture with edges, noise and colours, 32 x 32."""
    rows, columns = np.mgrid[:32, :32]
    noise = np.random.default_rng(0).integers(0, 40, (32, 32, 3))
    layers = np.stack([rows * 6, columns * 6, 200 * ((rows - 16) ** 2 + (columns - 12) ** 2 < 60)], axis=-1)
    return Image.fromarray(np.clip(layers + noise, 0, 255).astype(np.uint8))


def drawn(draw, settings, steps=200, batch=50, levels=(0, 3, 10)):
    labels = np.arange(steps * batch).reshape(steps, batch) % len(levels)
    return labels, draw(np.random.default_rng(0), settings, Drawn(labels, np.array(levels), 32, 32))


@pytest.mark.parametrize(
    ("table", "space"),
    [
        (strong.auto_augment_table, Torchvisions(AutoAugmentPolicy.CIFAR10)._augmentation_space(10, (32, 32))),
        (strong.trivial_augment_table, TrivialAugmentWide()._augmentation_space(31)),
    ],
    ids=["auto_augment", "trivial_augment"],
)
def test_operators_and_ranges_are_torchvisions(table, space, picture):
    entries = {entry.name.replace("_", ""): entry for entry in table(32, 32)}
    assert set(entries) == {name.lower() for name in space}
    for name, (magnitudes, signed) in space.items():
        entry = entries[name.lower()]
        assert entry.signed == signed
        count = len(magnitudes) if magnitudes.ndim else 1
        for k in range(count):
            magnitude = float(magnitudes[k]) if magnitudes.ndim else 0.0
            share = k / (count - 1) if count > 1 else 0.0
            ours, theirs = [], []
            for sign in (1, -1) if signed else (1,):
                value = entry.base + sign * entry.span * share
                ours.append(np.asarray(FUNCTIONS[entry.name](picture, value, GREY)).astype(int))
                arguments = (picture, name, sign * magnitude, InterpolationMode.NEAREST, list(GREY))
                theirs.append(np.asarray(_apply_op(*arguments)).astype(int))
            if not name.startswith("Translate"):  # theirs are by whole pixels
                for one in ours:  # with either sign; magnitudes in float32 may round another way
                    assert min(np.abs(one - other).max() for other in theirs) <= 1, (name, magnitude)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_translation_is_by_pixels_and_leaves_grey(picture, axis):
    before = np.asarray(picture)
    after = np.asarray(FUNCTIONS[f"translate_{axis}"](picture, 5, GREY))
    if axis == "y":
        before, after = before.transpose(1, 0, 2), after.transpose(1, 0, 2)
    assert np.array_equal(after[:, :27], before[:, 5:])
    assert (after[:, 27:] == 128).all()


def test_auto_augment_draws_its_25_sub_policies_equally_with_their_probabilities():
    _, draws = drawn(strong.draw_auto_augment, AutoAugment())
    numbers = draws["auto_augment.numbers"]
    policies = Torchvisions(AutoAugmentPolicy.CIFAR10).policies
    expected = np.zeros(len(NUMBERS))
    for policy in policies:
        for name, probability, _ in policy:
            ours = next(key for key in NUMBERS if key.replace("_", "") == name.lower())
            expected[NUMBERS[ours]] += probability / len(policies)
    found = np.bincount(numbers.ravel(), minlength=len(NUMBERS)) / (200 * 50)
    assert found[1:] == pytest.approx(expected[1:], abs=0.015)


def test_rand_augment_draws_so_many_operators_at_its_magnitude():
    _, draws = drawn(strong.draw_rand_augment, RandAugment(operators=3, magnitude=15))
    assert draws["rand_augment.numbers"].shape == (200, 50, 3)
    rotated = draws["rand_augment.values"][draws["rand_augment.numbers"] == NUMBERS["rotate"]]
    assert sorted(set(rotated.tolist())) == [-15.0, 15.0]  # half of 30 degrees
    assert np.mean(rotated > 0) == pytest.approx(0.5, abs=0.03)


def test_cuda_applies_as_many_operators_as_the_level_to_half_of_the_images():
    labels, draws = drawn(strong.draw_cuda, Cuda(probability=0.5, table="monotone"))
    applied = (draws["cuda.numbers"] != NUMBERS["identity"]).sum(-1)
    for label, level in enumerate((0, 3, 10)):
        of_class = applied[labels == label]
        assert set(of_class.tolist()) == {0, level}
        assert level == 0 or np.mean(of_class == level) == pytest.approx(0.5, abs=0.03)
    turned = (draws["cuda.numbers"] == NUMBERS["rotate"]) & (labels == 1)[..., None]
    assert set(np.abs(draws["cuda.values"][turned]).tolist()) == {3.0}  # level 3 of 30, of 30 degrees


def changes(table, name, picture):
    """The mean change of a picture by an operator at levels 1 to 10."""
    entry = next(entry for entry in table(32, 32) if entry.name == name)
    values = [entry.base + entry.span * level / 30 for level in range(1, 11)]
    before = np.asarray(picture).astype(float)
    return [np.abs(np.asarray(FUNCTIONS[name](picture, value, GREY)).astype(float) - before).mean() for value in values]


@pytest.mark.parametrize(
    "name", [entry.name for entry in strong.cuda_monotone_table(32, 32) if entry.span and entry.name != "posterize"]
)
def test_in_the_monotone_table_a_higher_level_changes_an_image_more(name, picture):
    found = changes(strong.cuda_monotone_table, name, picture)
    assert all(a <= b + 0.3 for a, b in pairwise(found)) and found[-1] > found[0]


@pytest.mark.parametrize("name", ["color", "contrast", "brightness"])
def test_the_published_table_is_not_monotone(name, picture):
    found = changes(strong.cuda_published_table, name, picture)
    assert found[0] > found[-1]


def test_in_the_published_table_posterize_leaves_one_bit_at_every_level(picture):
    assert len(set(changes(strong.cuda_published_table, "posterize_some", picture))) == 1


@pytest.mark.parametrize(("value", "expected"), [(0.0, 128), (0.9, 128), (2.7, 192), (4.0, 208)])
def test_cudas_posterize_keeps_one_bit_at_least_and_whole_bits(value, expected):
    found = FUNCTIONS["posterize_some"](Image.new("RGB", (1, 1), (213,) * 3), value, GREY)
    assert found.getpixel((0, 0)) == (expected,) * 3


def test_solarize_add_adds_to_every_pixel_and_inverts_what_is_bright_then():
    for before, after in ((0, 40), (87, 127), (88, 255 - 128), (200, 255 - 240), (250, 0)):
        found = FUNCTIONS["solarize_add"](Image.new("RGB", (1, 1), (before,) * 3), 40.9, GREY)
        assert found.getpixel((0, 0)) == (after,) * 3


def test_operators_before_one_on_the_host_run_on_the_host_too_and_with_their_own_draws():
    settings = Augmentation(
        order=["flip", "pad_crop", "auto_augment", "cutout"],
        flip=Flip(),
        pad_crop=PadCrop(),
        auto_augment=AutoAugment(),
        cutout=fields.Cutout(),
    )
    policy = Policy(settings, height=32, width=32)
    assert (policy.on_host, policy.on_device) == (["flip", "pad_crop", "auto_augment"], ["cutout"])
    labels = np.zeros((1, 16), dtype=np.int64)
    draws = policy.draw(0, 0, labels=labels, levels=np.zeros(1, dtype=np.int64))
    assert list(policy.device_draws(draws)) == ["cutout.centers"]
    of_step = {name: values[0] for name, values in draws.items()}
    without = {**of_step, "auto_augment.numbers": np.zeros_like(of_step["auto_augment.numbers"])}
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    plain = Policy(Augmentation(flip=Flip(), pad_crop=PadCrop()), height=32, width=32)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = plain.apply(batch, {name: torch.from_numpy(values) for name, values in of_step.items()})
    assert np.array_equal(policy.prepare(images, without), expected.permute(0, 2, 3, 1).numpy().astype(np.uint8))
    assert (policy.prepare(images, of_step) != policy.prepare(images, without)).any()
