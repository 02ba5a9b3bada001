"""torch.optim's optimisers, with a state created before the first step."""

import copy

import pytest
import torch
from torch import nn

from cifar_imbalance.configuration.fields import Adam, Optimizer, Sgd
from cifar_imbalance.methods.optimizers import fresh_state, load_state, make_optimizer, parameter_groups

RATE = 0.05
KINDS = {
    "adam": (Optimizer(name="adam", weight_decay=0.1), torch.optim.Adam, {}),
    "adamw": (Optimizer(name="adamw", weight_decay=0.1), torch.optim.AdamW, {}),
    "betas": (Optimizer(name="adam", adam=Adam(betas=[0.8, 0.95])), torch.optim.Adam, {"betas": (0.8, 0.95)}),
    "adamw-betas": (Optimizer(name="adamw", adamw=Adam(betas=[0.8, 0.95])), torch.optim.AdamW, {"betas": (0.8, 0.95)}),
    "sgd": (Optimizer(name="sgd", sgd=Sgd(momentum=0.0), weight_decay=0.1), torch.optim.SGD, {}),
    "momentum": (Optimizer(name="sgd", weight_decay=0.1), torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (Optimizer(name="sgd", sgd=Sgd(nesterov=True)), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}


def small():
    torch.manual_seed(0)
    # No bias before the norm: its gradient is zero but for rounding, which Adam would make a step of full size.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    return model.to(memory_format=torch.channels_last)


def move(model, optimizer, steps=3):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        model(torch.randn(5, 3, 4, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", [{"fused": True}, {"foreach": False}])
def test_steps_from_the_fresh_state_equal_torchs(kind, variant):
    config, plain, options = KINDS[kind]
    theirs = small()
    expected = move(theirs, plain(theirs.parameters(), lr=RATE, weight_decay=config.weight_decay, **options))
    ours = small()
    optimizer = make_optimizer(ours, config, learning_rate=torch.tensor(RATE), variant=variant)
    load_state(optimizer, fresh_state(small(), config), lambda tensor: tensor)
    torch.testing.assert_close(move(ours, optimizer), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_creating_the_fresh_state_changes_nothing(kind):
    model = small()
    before = copy.deepcopy(model.state_dict())
    state = fresh_state(model, KINDS[kind][0])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not value.any() for values in state.values() for value in values.values() if value is not None)


def test_state_has_the_memory_format_of_its_parameter():
    model = small()
    optimizer = make_optimizer(model, KINDS["adam"][0], learning_rate=torch.tensor(RATE), variant={"fused": True})
    saved = {index: {"exp_avg": torch.randn(p.shape)} for index, p in enumerate(model.parameters())}
    load_state(optimizer, saved, lambda tensor: tensor)
    convolution = optimizer.state[model[0].weight]["exp_avg"]
    assert convolution.stride() == model[0].weight.stride()
    assert torch.equal(convolution, saved[0]["exp_avg"])


def test_xla_norms_and_biases_can_be_excluded_from_weight_decay():
    model = small()
    decayed, plain = parameter_groups(model, Optimizer(name="adamw", weight_decay=0.1, decay_norm_and_bias=False))
    assert [parameter.dim() for parameter in decayed["params"]] == [4, 2]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(plain["params"]) == 3
