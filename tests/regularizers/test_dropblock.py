"""DropBlock by hand on a 4x4 map, its blocks, its rate and its schedule."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from tuner.regularizers import Step
from tuner.regularizers.blocks import block_holes, seed_probability
from tuner.regularizers.dropblock import DropBlock, draw_dropped, dropblock


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def watch(method, net, images, seeds, progress=1.0):
    """For each seed what leaves the net."""
    seen = []

    def criterion(hidden, targets):
        assert torch.equal(targets, torch.eye(len(images)))
        seen.append(hidden)
        return hidden.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=progress, mean=(0.0,), std=(1.0,))
        method.loss(net, images, torch.eye(len(images)), step)
    return seen


def share_dropped(keep_prob, side, block):
    """What to expect: a feature is kept when none of the blocks that cover it is drawn; blocks lie inside the map."""
    p = seed_probability(1 - keep_prob, side, side, block, block)
    starts = [sum(first <= x < first + block for first in range(side - block + 1)) for x in range(side)]
    return 1 - sum((1 - p) ** (rows * columns) for rows in starts for columns in starts) / side**2


def test_golden():
    hidden = torch.arange(32.0).view(2, 1, 4, 4)
    before = hidden.clone()
    holes = torch.zeros(2, 1, 4, 4)
    holes[0, 0, :2, :2] = holes[1, 0, 2:, 1:3] = 1  # 24 of 32 features stay, and grow by a third
    dropped = dropblock(hidden, holes) * 3 / 4
    expected = [
        [[0, 0, 2, 3], [0, 0, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]],
        [[16, 17, 18, 19], [20, 21, 22, 23], [24, 0, 0, 27], [28, 0, 0, 31]],
    ]
    torch.testing.assert_close(dropped[:, 0], torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(hidden, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_stay_so_and_are_scaled_by_the_true_share(dtype):
    hidden = torch.ones(2, 64, 32, 32, dtype=dtype)
    holes = torch.zeros(2, 64, 32, 32)
    holes.view(-1)[:20001] = 1  # of 131,072: a count past float16, and a share that bfloat16 cannot add up to
    dropped = dropblock(hidden, holes)
    assert dropped.dtype == dtype
    assert not dropped[holes.bool()].any()
    expected = torch.tensor(131072 / (131072 - 20001)).to(dtype)
    assert (dropped[~holes.bool()] == expected).all()


def test_where_everything_is_dropped_all_is_zero_and_no_gradient_is_nan():
    hidden = torch.randn(2, 3, 4, 4, generator=seeded(), requires_grad=True)
    dropped = dropblock(hidden, torch.ones(2, 3, 4, 4))
    assert torch.equal(dropped, torch.zeros(2, 3, 4, 4))
    dropped.sum().backward()
    assert torch.equal(hidden.grad, torch.zeros(2, 3, 4, 4))


def test_even_blocks_by_hand():
    seeds = torch.zeros(1, 1, 5, 6)
    seeds[0, 0, 0, 0] = seeds[0, 0, 3, 4] = 1
    assert block_holes(seeds, rows=2, columns=4)[0, 0].tolist() == [
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("height", "width", "block"), [(12, 20, 3), (9, 9, 4), (8, 6, 7), (5, 5, 1), (4, 4, 4), (6, 4, 6)]
)
def test_holes_are_unions_of_whole_blocks_inside_the_map(height, width, block):
    holes = draw_dropped(torch.empty(4, 50, height, width), 0.7, block, seeded())
    assert holes.shape == (4, 50, height, width)
    assert holes.dtype == torch.float32
    assert holes.mean() not in (0, 1)
    rows, columns = min(block, height), min(block, width)
    whole = -F.max_pool2d(-holes, (rows, columns), stride=1)  # 1 at the corners of blocks that are all hole
    corners = F.pad(whole, (columns - 1,) * 2 + (rows - 1,) * 2)
    assert torch.equal(F.max_pool2d(corners, (rows, columns), stride=1), holes)


@pytest.mark.parametrize(
    ("side", "block", "keep_prob"),
    [(32, 7, 0.9), (16, 7, 0.75), (8, 7, 0.9), (8, 4, 0.9), (4, 7, 0.8), (8, 1, 0.6), (32, 3, 0.97)],
)
def test_share_of_dropped_features(side, block, keep_prob):
    holes = draw_dropped(torch.empty(30, 40, side, side), keep_prob, block, seeded())
    each = holes.mean((2, 3)).flatten()
    expected = share_dropped(keep_prob, side, min(block, side))
    assert abs(each.mean() - expected) < 4 * each.std() / math.sqrt(len(each))
    # Overlaps cost a little of what keep_prob promises; blocks of one feature, or of the whole map, cannot overlap.
    cannot_overlap = block == 1 or block >= side
    assert (expected == pytest.approx(1 - keep_prob)) == cannot_overlap
    assert 0.8 * (1 - keep_prob) < expected < 1 - keep_prob + 1e-9


def test_every_sample_and_every_channel_has_its_own_blocks():
    holes = draw_dropped(torch.empty(5, 6, 16, 16), 0.5, 3, seeded())
    assert len({tuple(channel.flatten().tolist()) for channel in holes.flatten(0, 1)}) == 30


def test_the_rate_is_that_of_the_map_at_hand_and_one_draw_serves_all():
    """A large map, then a small one, with one method: both lose their own share."""
    images = torch.ones(2, 300, 32, 32)
    net = nn.Sequential(nn.Identity(), nn.AvgPool2d(4))
    for seed in range(3):
        [small] = watch(DropBlock(layers=(2,), schedule="constant"), net, images, [seed])
        [large] = watch(DropBlock(layers=(1,), schedule="constant"), net[:1], images, [seed])
        for hidden, side in [(large, 32), (small, 8)]:
            each = (hidden == 0).float().mean((2, 3)).flatten()
            assert abs(each.mean() - share_dropped(0.9, side, 7)) < 4 * each.std() / math.sqrt(len(each))
            assert hidden.mean().item() == pytest.approx(1, abs=1e-5)  # one factor for the batch keeps its mean


def test_every_listed_depth_drops_in_every_batch_and_each_stage_runs_once():
    images, zeros = torch.ones(3, 40, 8, 8), []

    class Watching(nn.Module):
        def forward(self, hidden):
            zeros.append((hidden == 0).float().mean().item())
            return hidden

    net = nn.Sequential(*(Watching() for _ in range(4)))
    watch(DropBlock(layers=(3, 1), block_size=3), net, images, range(10))
    assert len(zeros) == 40
    for run in range(0, 40, 4):
        at_first, at_second, at_third, at_fourth = zeros[run : run + 4]
        assert at_first == 0 < at_second == at_third < at_fourth


def test_keep_prob_falls_linearly_or_is_constant():
    linear, constant = DropBlock(keep_prob=0.8), DropBlock(keep_prob=0.8, schedule="constant")
    assert [linear.keep_prob_at(progress) for progress in (0.0, 0.25, 1.0)] == pytest.approx([1, 0.95, 0.8])
    assert {constant.keep_prob_at(progress) for progress in (0.0, 0.25, 1.0)} == {0.8}
    images, net = torch.randn(2, 3, 8, 8, generator=seeded()), nn.Sequential(nn.Identity(), nn.Identity())
    for method, progress in [(linear, 0.0), (DropBlock(keep_prob=1.0), 1.0)]:
        assert all(torch.equal(hidden, images) for hidden in watch(method, net, images, range(5), progress))
    assert not torch.equal(watch(constant, net, images, [0], progress=0.0)[0], images)


def test_misfits_are_depths_past_the_net_and_never_the_block():
    assert DropBlock(block_size=9).misfits([(4, 4), (2, 2), (1, 1)]) == []
    assert [field for field, _ in DropBlock(layers=(1, 3)).misfits([(8, 8), (8, 8), (4, 4)])] == ["layers"]


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"keep_prob": 0.0}, "greater than 0"),
        ({"block_size": 0}, "greater than or equal to 1"),
        ({"schedule": "cosine"}, "'constant' or 'linear'"),
        ({"layers": (0, 1)}, "greater than or equal to 1"),
    ],
)
def test_illegal_values_are_refused(wrong, law):
    with pytest.raises(ValidationError, match=law):
        DropBlock(**wrong)
