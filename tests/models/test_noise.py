import numpy as np
import pytest
import timm
import torch
from torch.func import functional_call, vmap
from torch.nn import functional

from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.noise import KeyedNoise, mixed


def lowbias32(word):
    word ^= word >> 16
    word = word * 0x7FEB352D % 2**32
    word ^= word >> 15
    word = word * 0x846CA68B % 2**32
    return word ^ word >> 16


def kept(seed, place, count, share):
    """Which of `count` values stay, from the definition, in Python's integers."""
    key = lowbias32(lowbias32(seed) ^ place * 0x9E3779B9 % 2**32)
    return [lowbias32(lowbias32(position) ^ key) < share * 2**32 for position in range(count)]


def test_words_are_mixed_as_published_and_stay_within_32_bits():
    words = torch.tensor([0, 1, 2, 2**31, 2**32 - 1])
    assert mixed(words).tolist() == [lowbias32(word) for word in words.tolist()]


def test_dropout_and_drop_path_keep_what_the_seed_the_place_and_the_position_say():
    values = torch.ones(4, 5)
    with KeyedNoise(torch.tensor(7)):
        first = functional.dropout(values, 0.25)
        second = values.new_empty(4, 1).bernoulli_(0.5)
    assert first.flatten().tolist() == pytest.approx([one / 0.75 for one in kept(7, 1, 20, 0.75)])
    assert second.flatten().tolist() == kept(7, 2, 4, 0.5)
    with KeyedNoise(torch.tensor(7)):
        assert functional.dropout(values, 0.25, training=False) is values


def test_the_share_of_kept_values_is_right_and_neighbours_are_unrelated():
    drawn = []
    for seed in (0, 1):
        with KeyedNoise(torch.tensor(seed)):
            drawn += [torch.empty(100_000).bernoulli_(0.7) for _ in range(2)]
    deviation = (0.7 * 0.3 / 100_000) ** 0.5
    assert [one.mean().item() for one in drawn] == pytest.approx([0.7] * 4, abs=4 * deviation)
    series = [*drawn, drawn[0].roll(1)]
    correlations = np.corrcoef(torch.stack(series).numpy())[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4 / 100_000**0.5


ATTENDED = torch.ones(1, 1, 2, 4)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: functional.scaled_dot_product_attention(ATTENDED, ATTENDED, ATTENDED, dropout_p=0.5),
        lambda: torch.rand(3),
        lambda: functional.dropout2d(torch.ones(1, 3, 2, 2)),
    ],
)
def test_noise_without_a_key_is_refused(draw):
    with (
        pytest.raises(
            UsageError, match=r"model\.name: the network draws noise by (rand|dropout2d|scaled_dot_product_attention)"
        ),
        KeyedNoise(torch.tensor(0)),
    ):
        draw()


def test_networks_at_a_time_have_the_noise_that_each_has_alone():
    network = timm.create_model("test_efficientnet", num_classes=4, drop_rate=0.5, drop_path_rate=0.5).train()
    state = {name: value.detach() for name, value in network.named_parameters()}
    statistics = dict(network.named_buffers())
    images = torch.rand(6, 3, 32, 32)

    def logits(statistics, seed):
        with KeyedNoise(seed):
            return functional_call(network, (state, statistics), (images,))

    def copies(count):
        return {name: torch.stack([value] * count) for name, value in statistics.items()}

    together = vmap(logits)(copies(2), torch.tensor([3, 4]))
    alone = [logits({n: v.clone() for n, v in statistics.items()}, torch.tensor(seed)) for seed in (3, 4)]
    assert not torch.allclose(alone[0], alone[1], atol=1e-2)
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
