"""Manifold Mixup by hand on a 4x4 map, its draws, and what it shares with mixup."""

import math

import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.depths import draw_depth
from tuner.regularizers.manifold_mixup import ManifoldMixup, manifold_mixup
from tuner.regularizers.mixup import Mixup
from tuner.training.criterion import soft_cross_entropy


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_step(criterion, generator):
    return Step(criterion, generator, progress=0.0, mean=(0.0,), std=(1.0,))


class Watching(nn.Module):
    """Does nothing, and remembers what came in."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, hidden):
        self.seen.append(hidden)
        return hidden


def test_golden():
    ramp = torch.tensor([[0, 4, 8, 12]] * 4, dtype=torch.float32)
    hidden = torch.stack([torch.zeros(4, 4), ramp, torch.full((4, 4), 8.0)]).unsqueeze(1)
    before = hidden.clone()
    mixed, targets = manifold_mixup(hidden, torch.eye(3), perm=torch.tensor([1, 2, 0]), lam=0.75)
    assert mixed[0, 0].tolist() == [[0, 1, 2, 3]] * 4
    assert mixed[1, 0].tolist() == [[2, 5, 8, 11]] * 4
    assert mixed[2, 0].tolist() == [[6, 6, 6, 6]] * 4
    assert targets.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]
    assert torch.equal(hidden, before)


def test_gradients_reach_both_partners():
    hidden = torch.randn(2, 1, 4, 4, generator=seeded(), requires_grad=True)
    mixed, _ = manifold_mixup(hidden, torch.eye(2), torch.tensor([1, 0]), lam=0.75)
    mixed[0].sum().backward()
    assert torch.equal(hidden.grad, torch.tensor([0.75, 0.25]).view(2, 1, 1, 1).expand(2, 1, 4, 4))


def test_one_lam_and_one_partner_for_a_map_and_its_target_at_a_depth_drawn_for_each_batch():
    images = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 4, 6)  # each image shows its own one-hot target
    seen, depths, lams, n = [], [], [], 600
    net = nn.Sequential(Watching(seen), Watching(seen), Watching(seen), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def criterion(logits, targets):
        torch.testing.assert_close(logits, targets)
        lams.extend(own for own in targets.diagonal().tolist()[:1] if own < 1)
        return logits.sum()

    method = ManifoldMixup(layers=(0, 1, 3))
    for seed in range(n):
        seen.clear()
        method.loss(net, images, torch.eye(4), a_step(criterion, seeded(seed)))
        assert len(seen) == 3  # each stage runs once
        depths.append(sum(torch.equal(hidden, images) for hidden in seen))
    mixed = len(lams) / (3 / 4)  # of four samples each is its own partner in one batch of four
    assert abs(mixed / n - 1) < 4 * math.sqrt(1 / 3 / n)
    lams = torch.tensor(lams, dtype=torch.float64)
    assert abs(lams.mean() - 0.5) < 4 * lams.std() / math.sqrt(len(lams))
    squares = (lams - 0.5) ** 2
    assert abs(squares.mean() - 1 / 20) < 4 * squares.std() / math.sqrt(len(lams))  # Beta(2, 2)
    identical = 1 / 24  # a permutation that pairs nobody leaves all three maps as they were
    for depth, share in [(0, 1 / 3), (1, 1 / 3), (2, 0), (3, 1 / 3)]:
        expected = share * (1 - identical) + (identical if depth == 3 else 0)
        assert abs(depths.count(depth) / n - expected) <= 4 * math.sqrt(expected * (1 - expected) / n)


def test_at_the_input_alone_it_is_mixup():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images, targets = torch.randn(3, 1, 4, 4, generator=seeded()), torch.eye(3)
    for seed in range(5):
        one_draw_later = seeded(seed)
        draw_depth((0,), one_draw_later)
        theirs = Mixup(alpha=0.7).loss(net, images, targets, a_step(soft_cross_entropy, one_draw_later))
        method = ManifoldMixup(alpha=0.7, layers=(0,))
        ours = method.loss(net, images, targets, a_step(soft_cross_entropy, seeded(seed)))
        assert torch.equal(ours, theirs)


def test_misfits_are_depths_past_the_net():
    assert ManifoldMixup().misfits([(8, 8), (8, 8), (8, 8), (4, 4)]) == []
    assert [field for field, _ in ManifoldMixup().misfits([(8, 8), (8, 8), (4, 4)])] == ["layers"]
