"""MaxNorm: the largest norm of the class vectors, and their cut to it."""

import pytest
import torch

from cifar_imbalance.methods.max_norm import cut_to_norm, norm_limit

VECTORS = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0], [1.2, 1.6]])  # of norm 5, 1, 0, 2


@pytest.mark.parametrize(("share", "limit"), [(0.0, 1.0), (0.1, 1.4), (1.0, 5.0)])
def test_the_limit_lies_a_share_of_the_way_from_the_smallest_to_the_largest_norm(share, limit):
    assert norm_limit(VECTORS[:2], share) == pytest.approx(limit)


def test_longer_vectors_are_cut_in_their_direction_and_the_others_stay():
    vectors = VECTORS.clone()
    cut_to_norm(vectors, 1.5)
    expected = torch.tensor([[0.9, 1.2], [0.6, 0.8], [0.0, 0.0], [0.9, 1.2]])
    torch.testing.assert_close(vectors, expected)
    assert torch.equal(vectors[1:3], VECTORS[1:3])
