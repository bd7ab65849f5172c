"""Region Mixup by hand on a 4x4 image, its grid, and its loss against that of mixup."""

import copy
import math

import pytest
import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.mixup import Mixup, mixup
from tuner.regularizers.region_mixup import RegionMixup, grid, region_mixup
from tuner.training.criterion import CRITERIA


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_step(criterion, seed=0):
    return Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))


def test_golden():
    images = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 8.0)])
    swap, stay = torch.tensor([1, 0]), torch.tensor([0, 1])
    before = images.clone()
    mixed, targets = region_mixup(
        images, torch.eye(2), grid(2, 4, 4), perms=[swap, swap, stay, swap], lams=[0.25, 0.5, 0.75, 1.0]
    )
    assert mixed[0, 0].tolist() == [[6, 6, 4, 4], [6, 6, 4, 4], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert mixed[1, 0].tolist() == [[2, 2, 4, 4], [2, 2, 4, 4], [8, 8, 8, 8], [8, 8, 8, 8]]
    # Of the partner: 3/4 and 1/2 of a quarter each; with itself and at lam = 1 a sample stays.
    assert targets.tolist() == [[11 / 16, 5 / 16], [5 / 16, 11 / 16]]
    assert torch.equal(images, before)


def test_labels_follow_the_areas_where_the_grid_does_not_divide_the_image():
    tiles = grid(2, 5, 7)
    assert tiles == [(0, 2, 0, 3), (0, 2, 3, 7), (2, 5, 0, 3), (2, 5, 3, 7)]
    swap = torch.tensor([1, 0])
    _, targets = region_mixup(torch.zeros(2, 1, 5, 7), torch.eye(2), tiles, [swap] * 4, lams=[0.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(targets, torch.tensor([[29 / 35, 6 / 35], [6 / 35, 29 / 35]]))


@pytest.mark.parametrize(("size", "height", "width"), [(1, 4, 6), (3, 32, 32), (4, 5, 9), (7, 7, 8)])
def test_tiles_cover_the_image_once_and_differ_by_at_most_a_pixel(size, height, width):
    tiles, covered = grid(size, height, width), torch.zeros(height, width)
    for tile in tiles:
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert len(tiles) == size**2
    assert covered.eq(1).all()
    for side, lengths in [(height, {t.bottom - t.top for t in tiles}), (width, {t.right - t.left for t in tiles})]:
        assert lengths <= {side // size, -(-side // size)}


def test_one_tile_is_mixup_exactly():
    images, targets, perm = torch.randn(6, 3, 5, 7, generator=seeded()), torch.eye(6), torch.tensor([2, 0, 5, 3, 1, 4])
    for lam in (0.0, 0.3, 0.8, 1.0):
        ours = region_mixup(images, targets, grid(1, 5, 7), [perm], [lam])
        assert all(map(torch.equal, ours, mixup(images, targets, perm, lam)))


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_the_loss_of_one_tile_is_that_of_mixup_plus_the_clean_one(criterion):
    """Through batch normalisation too: neither term changes the statistics that the other is normalised by."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6))
    images, targets = torch.randn(6, 1, 4, 4, generator=seeded()), torch.eye(6)
    for seed in range(5):
        ours = RegionMixup(grid_size=1, ce_weight=0.5).loss(
            copy.deepcopy(net), images, targets, a_step(criterion, seed)
        )
        mixed = Mixup().loss(net, images, targets, a_step(criterion, seed))
        assert torch.equal(ours, mixed + 0.5 * criterion(net(images), targets))


@pytest.mark.parametrize(("weight", "passes"), [(0.0, 1), (0.25, 2)])
def test_the_clean_images_are_trained_on_in_a_pass_of_their_own_or_not_at_all(weight, passes):
    images, reached = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 4, 4), []

    def criterion(logits, targets):
        reached.append((logits, targets))
        return torch.ones(())

    loss = RegionMixup(ce_weight=weight).loss(nn.Sequential(nn.Flatten()), images, torch.eye(6), a_step(criterion))
    assert loss == 1 + weight
    assert len(reached) == passes
    assert not torch.equal(reached[0][1], torch.eye(6))
    for logits, targets in reached[1:]:
        assert torch.equal(logits, images.flatten(1))
        assert torch.equal(targets, torch.eye(6))


def watch(method, height, width, seeds):
    """What reaches the criterion for images (4,4,H,W) that are their own one-hot target at every pixel."""
    images, seen = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, height, width), []

    def criterion(logits, targets):
        seen.append((logits.view_as(images), targets))
        return logits.sum()

    for seed in seeds:
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(4), a_step(criterion, seed))
    return seen


def test_targets_are_the_shares_of_the_pixels():
    for mixed, targets in watch(RegionMixup(grid_size=4, ce_weight=0.0), 5, 7, range(20)):
        torch.testing.assert_close(targets, mixed.mean((2, 3)))
        assert targets.min() >= 0
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_every_tile_has_a_share_and_a_permutation_of_its_own():
    lams, partners = [], []
    for mixed, _ in watch(RegionMixup(ce_weight=0.0), 2, 2, range(500)):
        tiles = mixed.flatten(2)  # sample, share of class, tile
        own = tiles.diagonal().T  # sample, tile
        if (own < 1).any(0).all():  # no tile drew the identity
            assert all(len(set(tile[tile < 1].tolist())) == 1 for tile in own.T)  # one share for the whole batch
            lams.append(own.amin(0))
            others = tiles - torch.diag_embed(own.T).permute(1, 2, 0)
            partners.append(torch.where(others.sum(1) > 0, others.argmax(1), -1))
    lams = torch.stack(lams)
    for tile in lams.T:
        assert abs(tile.mean() - 0.5) < 4 / math.sqrt(12 * len(lams))
    assert (torch.corrcoef(lams.T) - torch.eye(4)).abs().max() < 4 / math.sqrt(len(lams))
    assert sum(not torch.equal(found[:, 0], found[:, 3]) for found in partners) > 0.9 * len(partners)


def test_misfits_name_a_grid_finer_than_the_image():
    assert RegionMixup(grid_size=8).misfits([(8, 8), (4, 4)]) == []
    [(field, sentence)] = RegionMixup(grid_size=9).misfits([(12, 8), (4, 4)])
    assert field == "grid_size"
    assert "got 9 x 9 tiles of an image of 12 x 8 pixels; take 8 or less" in sentence
