"""What is mixed: partners, shares and boxes, drawn by key."""

import numpy as np
import pytest
import torch

from cifar_imbalance import keys
from cifar_imbalance.configuration.fields import Cmo, Cutmix, Mixing, Mixup
from cifar_imbalance.methods.mixing import MIXING, PARTNERS_FROM_ALL, draw, remixed

LABELS = np.repeat(np.arange(3), [800, 180, 20])
NAMES = [name for name in MIXING if name != "none"]


def drawn(settings, steps=50, batch=20, active=True, seed=0):
    indices = np.random.default_rng(0).permutation(1000)[: steps * batch].reshape(steps, batch)
    found = draw(settings, keys.generator(seed, "mixing"), LABELS, indices, height=32, width=24, active=active)
    return indices, {name.removeprefix("mixing."): values for name, values in found.items()}


def test_without_mixing_nothing_is_drawn():
    assert drawn(Mixing())[1] == {}


@pytest.mark.parametrize("name", NAMES)
def test_in_epochs_without_mixing_images_stay_and_the_draws_have_the_same_shapes(name):
    _, on = drawn(Mixing(name=name))
    _, off = drawn(Mixing(name=name), active=False)
    assert {k: (v.shape, v.dtype) for k, v in on.items()} == {k: (v.shape, v.dtype) for k, v in off.items()}
    assert (off["label_share"] == 1).all() and (on["label_share"] < 1).any()
    images = torch.rand(20, 3, 32, 24)
    partners = torch.rand(20, 3, 32, 24)
    draws = {f"mixing.{k}": torch.from_numpy(v[0]) for k, v in off.items()}
    assert torch.equal(MIXING[name](images, partners, draws), images)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PARTNERS_FROM_ALL])
def test_partners_are_a_permutation_of_the_batch(name):
    _, found = drawn(Mixing(name=name))
    assert (np.sort(found["partner"], axis=1) == np.arange(20)).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_is_beta_distributed(alpha):
    _, found = drawn(Mixing(name="mixup", mixup=Mixup(alpha=alpha)))
    shares = np.concatenate(
        [drawn(Mixing(name="mixup", mixup=Mixup(alpha=alpha)), seed=seed)[1]["share"][:, 0] for seed in range(40)]
    )
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert (found["share"] == found["label_share"]).all()
    assert (found["share"] == found["share"][:, :1]).all()  # one for the batch


def test_the_labels_share_of_cutmix_is_that_of_the_pixels_that_stay():
    _, found = drawn(Mixing(name="cutmix", cutmix=Cutmix(probability=1.0)))
    images, partners = torch.zeros(20, 3, 32, 24), torch.ones(20, 3, 32, 24)
    for step in range(50):
        draws = {f"mixing.{k}": torch.from_numpy(v[step]) for k, v in found.items()}
        stay = 1 - MIXING["cutmix"](images, partners, draws).mean((1, 2, 3))
        torch.testing.assert_close(stay, draws["mixing.label_share"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["cutmix", "cmo"])
def test_a_probability_is_that_of_a_batch(name):
    block = {"cutmix": Cutmix(probability=0.3), "cmo": Cmo(probability=0.3)}[name]
    mixed = [
        (drawn(Mixing(name=name, **{name: block}), seed=seed)[1]["label_share"][:, 0] < 1).mean() for seed in range(40)
    ]
    assert np.mean(mixed) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("power", "expected"), [(0.0, [0.8, 0.18, 0.02]), (1.0, [1 / 3] * 3)])
def test_cmo_pastes_rare_classes_by_a_power_of_their_images(power, expected):
    _, found = drawn(Mixing(name="cmo", cmo=Cmo(power=power)))
    assert np.bincount(LABELS[found["partner"]].ravel(), minlength=3) / 1000 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("share", "own", "partner", "expected"),
    [
        (0.4, 300, 100, 0.0),  # the image is of the frequent class and less than half of it is left
        (0.6, 300, 100, 0.6),
        (0.4, 299, 100, 0.4),  # not three times as frequent
        (0.6, 100, 300, 1.0),
        (0.4, 100, 300, 0.4),
        (0.4, 100, 100, 0.4),
    ],
)
def test_remix_gives_the_label_to_the_rarer_class(share, own, partner, expected):
    found = remixed(np.array([[share]]), np.array([[own]]), np.array([[partner]]), kappa=3.0, tau=0.5)
    assert found.item() == expected
