"""Mixup by hand, and the draws that it shares with the others."""

import math

import pytest
import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, integer, permutation, uniform, uniform_field
from tuner.regularizers.mixup import Mixup, mixup

CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_golden():
    images = torch.stack([torch.full((1, 4, 4), value) for value in (0.0, 4.0, 8.0)])
    mixed, targets = mixup(images, torch.eye(3), perm=torch.tensor([1, 2, 0]), lam=0.25)
    assert torch.equal(mixed, torch.stack([torch.full((1, 4, 4), value) for value in (3.0, 7.0, 2.0)]))
    expected = [[0.25, 0.75, 0.0], [0.0, 0.25, 0.75], [0.75, 0.0, 0.25]]
    assert torch.equal(targets, torch.tensor(expected))


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_ends_are_exact(lam):
    images, targets, perm = torch.randn(3, 2, 4, 4, generator=seeded()), torch.eye(3), torch.tensor([2, 0, 1])
    mixed, mixed_targets = mixup(images, targets, perm, lam)
    expected = slice(None) if lam else perm
    assert torch.equal(mixed, images[expected])
    assert torch.equal(mixed_targets, targets[expected])


def test_images_and_targets_are_mixed_with_the_same_lam_and_the_same_partners():
    net = nn.Sequential(nn.Flatten())
    images = torch.eye(4).view(4, 1, 2, 2)  # each image is its own one-hot target
    reached = []

    def criterion(logits, targets):
        reached.append(targets)
        assert torch.equal(logits, targets)
        return logits.sum()

    for seed in range(20):
        Mixup().loss(net, images, torch.eye(4), Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,)))
    assert sum(not torch.equal(targets, torch.eye(4)) for targets in reached) >= 18  # all but identity permutations


@pytest.mark.parametrize("alpha", [SMALLEST_ALPHA, 0.2, 1.0, 2.0])
def test_beta_has_its_mean_and_variance(alpha):
    generator, n = seeded(), 4000
    lam = torch.tensor([beta(alpha, generator) for _ in range(n)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert lam.min() >= 0
    assert lam.max() <= 1
    assert abs(lam.mean() - 0.5) < 4 * math.sqrt(variance / n)
    squares = (lam - 0.5) ** 2
    assert abs(squares.mean() - variance) < 4 * squares.std() / math.sqrt(n)


def test_scalar_draws_cover_their_range():
    generator = seeded()
    assert {integer(2, 5, generator) for _ in range(100)} == {2, 3, 4}
    numbers = [uniform(generator) for _ in range(1000)]
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert abs(sum(numbers) / 1000 - 0.5) < 4 / math.sqrt(12 * 1000)


def test_permutation_pairs_everyone_once():
    perm = permutation(50, seeded(), CPU)
    assert perm.dtype == torch.int64
    assert perm.sort().values.equal(torch.arange(50))


def test_field_is_float32_seeded_by_one_draw_and_true_at_small_probabilities():
    first, second = seeded(), seeded()
    with torch.autocast("cpu", torch.bfloat16):
        field = uniform_field((1, 40, 100, 100), first, CPU)
    assert field.dtype == torch.float32
    integer(0, 2**63 - 1, second)
    assert torch.equal(first.get_state(), second.get_state())
    assert not torch.equal(field, uniform_field(field.shape, first, CPU))
    for p in (0.001, 0.0155):
        assert abs((field < p).double().mean() - p) < 4 * math.sqrt(p / field.numel())
