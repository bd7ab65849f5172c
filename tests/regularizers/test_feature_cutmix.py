"""Feature CutMix by hand on a 4x4 map, and the law of its box in features."""

import math

import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.feature_cutmix import FeatureCutMix, feature_cutmix
from tuner.regularizers.rectangle import Rectangle


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def watch(method, net, images, seeds):
    """For each seed the maps that reach the end of the net, and the targets."""
    seen = []

    def criterion(hidden, targets):
        seen.append((hidden, targets))
        return hidden.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
        method.loss(net, images, torch.eye(len(images)), step)
    return seen


def test_golden_out_of_place():
    hidden = torch.stack([torch.zeros(2, 4, 4), torch.ones(2, 4, 4), torch.full((2, 4, 4), 2.0)])
    before = hidden.clone()
    box = Rectangle(top=2, bottom=4, left=1, right=2)
    mixed, targets = feature_cutmix(hidden, torch.eye(3), perm=torch.tensor([1, 2, 0]), box=box)
    for channel in range(2):
        assert mixed[0, channel].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
        assert mixed[2, channel].tolist() == [[2, 2, 2, 2], [2, 2, 2, 2], [2, 0, 2, 2], [2, 0, 2, 2]]
    assert targets.tolist() == [[0.875, 0.125, 0], [0, 0.875, 0.125], [0.125, 0, 0.875]]
    assert torch.equal(hidden, before)


def test_gradients_reach_both_partners():
    hidden = torch.randn(2, 1, 4, 4, generator=seeded(), requires_grad=True)
    box = Rectangle(top=0, bottom=2, left=0, right=2)
    mixed, _ = feature_cutmix(hidden * 1, torch.eye(2), torch.tensor([1, 0]), box)
    mixed[0].sum().backward()
    inside = torch.zeros(1, 4, 4)
    inside[:, :2, :2] = 1
    assert torch.equal(hidden.grad, torch.stack([1 - inside, inside]))


def test_an_empty_box_is_a_clean_batch():
    hidden = torch.randn(3, 2, 4, 4, generator=seeded())
    mixed, targets = feature_cutmix(hidden, torch.eye(3), torch.tensor([1, 2, 0]), Rectangle(2, 2, 1, 3))
    assert torch.equal(mixed, hidden)
    assert torch.equal(targets, torch.eye(3))


def test_the_box_lies_in_the_map_at_the_drawn_depth_and_lam_is_the_share_of_its_features():
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 16, 24)
    net = nn.Sequential(nn.Identity(), nn.MaxPool2d(2), nn.MaxPool2d(2))
    for depth, height, width in [(1, 16, 24), (2, 8, 12), (3, 4, 6)]:
        # The net ends at the depth, so that the map is seen as it was mixed.
        altered = 0
        for mixed, targets in watch(FeatureCutMix(cutmix_prob=1.0, layers=(depth,)), net[:depth], images, range(40)):
            assert mixed.shape == (3, 2, height, width)
            for sample in range(3):
                shares = torch.tensor([(mixed[sample] == value).float().mean() for value in range(3)])
                torch.testing.assert_close(targets[sample], shares)
                inside = mixed[sample] != sample
                altered += inside.any().item()
                rows, columns = inside[0].any(1), inside[0].any(0)
                assert torch.equal(inside, (rows[:, None] & columns).expand_as(inside))
        assert altered > 40


def test_every_depth_is_drawn_equally_often_and_only_for_the_chosen_batches():
    images = torch.randn(6, 1, 8, 8, generator=seeded())
    reached, n = [], 900

    class Watching(nn.Module):
        def forward(self, hidden):
            reached.append(torch.equal(hidden, images))
            return hidden

    net = nn.Sequential(Watching(), Watching(), Watching(), nn.Flatten())
    watch(FeatureCutMix(cutmix_prob=0.6, alpha=4.0), net, images, range(n))
    assert len(reached) == 3 * n
    depths = [sum(reached[run : run + 3]) for run in range(0, 3 * n, 3)]
    # At depth 3, the default's deepest, nothing is seen before the end: it cannot be told from a clean batch.
    for depth in (1, 2):
        assert abs(depths.count(depth) / n - 0.2) < 4 * math.sqrt(0.16 / n)
    clean = watch(FeatureCutMix(cutmix_prob=0.0), nn.Sequential(nn.Identity(), nn.Flatten()), images, range(20))
    assert all(torch.equal(targets, torch.eye(6)) for _, targets in clean)


def test_misfits_are_depths_past_the_net():
    assert FeatureCutMix().misfits([(8, 8), (8, 8), (8, 8), (4, 4)]) == []
    assert [field for field, _ in FeatureCutMix().misfits([(8, 8), (8, 8), (4, 4)])] == ["layers"]
