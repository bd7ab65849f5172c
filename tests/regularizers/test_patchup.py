"""PatchUp by hand on a 4x4 map, its loss against the paper's equation 6, and the law of its mask."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from tuner.regularizers import Step
from tuner.regularizers.blocks import block_holes, seed_probability
from tuner.regularizers.cutmix import cutmix
from tuner.regularizers.patchup import (
    PatchUpHard,
    PatchUpInput,
    PatchUpSoft,
    draw_box,
    draw_holes,
    patchup,
    patchup_input,
    scaled_block,
)
from tuner.regularizers.rectangle import Rectangle
from tuner.training.criterion import CRITERIA

BOTH = pytest.mark.parametrize("form", [PatchUpHard, PatchUpSoft])

HOLES = torch.tensor([[[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]]]])  # 5 of 16


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_step(criterion, seed=0):
    return Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))


def watch(method, images, seeds):
    """For each seed the maps as mixed (the net does nothing), the targets, and the loss where the criterion says 1."""
    seen = []

    def criterion(logits, targets):
        seen.append((logits.view_as(images), targets))
        return torch.ones(())

    net, targets = nn.Sequential(nn.Identity(), nn.Flatten()), torch.eye(len(images))
    losses = [method.loss(net, images, targets, a_step(criterion, seed)).item() for seed in seeds]
    return [(mixed, reweighted, loss) for (mixed, reweighted), loss in zip(seen, losses, strict=True)]


def test_golden_hard():
    hidden = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 8.0)])
    mixed, targets = patchup(hidden, torch.eye(2), torch.tensor([1, 0]), HOLES, lam=0.0)
    assert mixed[0, 0].tolist() == [[8, 8, 0, 0], [8, 8, 0, 0], [0, 0, 0, 0], [0, 0, 0, 8]]
    assert mixed[1, 0].tolist() == [[0, 0, 8, 8], [0, 0, 8, 8], [8, 8, 8, 8], [8, 8, 8, 0]]
    assert targets.tolist() == [[11 / 16, 5 / 16], [5 / 16, 11 / 16]]


def test_golden_soft():
    hidden = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 8.0)])
    mixed, targets = patchup(hidden, torch.eye(2), torch.tensor([1, 0]), HOLES, lam=0.75)
    assert mixed[0, 0].tolist() == [[2, 2, 0, 0], [2, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]
    assert mixed[1, 0].tolist() == [[6, 6, 8, 8], [6, 6, 8, 8], [8, 8, 8, 8], [8, 8, 8, 6]]
    # The partner weighs 1/4 of the altered 5/16.
    assert targets.tolist() == [[59 / 64, 5 / 64], [5 / 64, 59 / 64]]


def test_golden_input():
    images = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 8.0)])
    box = Rectangle(top=0, bottom=3, left=2, right=4)
    mixed, targets = patchup_input(images, torch.eye(2), torch.tensor([1, 0]), box)
    assert mixed[0, 0].tolist() == [[0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 0, 0]]
    assert mixed[1, 0].tolist() == [[8, 8, 0, 0], [8, 8, 0, 0], [8, 8, 0, 0], [8, 8, 8, 8]]
    assert targets.tolist() == [[10 / 16, 6 / 16], [6 / 16, 10 / 16]]


def test_hard_swaps_bit_for_bit_and_gradients_reach_both_partners():
    hidden = torch.randn(2, 1, 4, 4, generator=seeded(), requires_grad=True)
    mixed, _ = patchup(hidden, torch.eye(2), torch.tensor([1, 0]), HOLES, lam=0.0)
    assert torch.equal(mixed, torch.where(HOLES.bool(), hidden[[1, 0]], hidden))
    mixed[0].sum().backward()
    assert torch.equal(hidden.grad[0], 1 - HOLES[0])
    assert torch.equal(hidden.grad[1], HOLES[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_stay_so_and_targets_stay_exact(dtype):
    hidden = torch.randn(2, 64, 32, 32, generator=seeded()).to(dtype)
    holes = torch.zeros(1, 64, 32, 32)
    holes.view(-1)[:20001] = 1  # of 65,536: a share that neither type can hold, and a count past float16
    mixed, targets = patchup(hidden, torch.eye(2), torch.tensor([1, 0]), holes, lam=0.0)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, torch.where(holes.bool(), hidden[[1, 0]], hidden))
    assert targets.dtype == torch.float32
    assert targets[0, 1].item() == pytest.approx(20001 / 65536, abs=1e-6)


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_twice_one_term_is_equation_6(criterion, lam):
    logits, labels, perm = (
        torch.randn(6, 4, generator=seeded()),
        torch.eye(4)[[0, 1, 2, 3, 0, 1]],
        torch.tensor([2, 0, 5, 3, 1, 4]),
    )
    unchanged = 1 - HOLES.mean()
    altered_target = lam * labels + (1 - lam) * labels[perm]
    reweighted = unchanged * labels + (1 - unchanged) * altered_target
    first = unchanged * criterion(logits, labels) + (1 - unchanged) * criterion(logits, altered_target)
    _, ours = patchup(torch.zeros(6, 1, 4, 4), labels, perm, HOLES, lam)
    torch.testing.assert_close(2 * criterion(logits, ours), first + criterion(logits, reweighted))


@pytest.mark.parametrize("form", [PatchUpHard, PatchUpSoft, PatchUpInput])
def test_altered_batches_count_twice_and_clean_ones_once(form):
    images = torch.randn(3, 2, 8, 8, generator=seeded())
    where = {} if form is PatchUpInput else {"layers": (0, 1)}
    assert {loss for *_, loss in watch(form(patchup_prob=1.0, **where), images, range(10))} == {2.0}
    for mixed, targets, loss in watch(form(patchup_prob=0.0, **where), images, range(10)):
        assert loss == 1.0
        assert torch.equal(mixed, images)
        assert torch.equal(targets, torch.eye(3))
    losses = [loss for *_, loss in watch(form(patchup_prob=0.7, **where), images, range(400))]
    assert abs(losses.count(2.0) / 400 - 0.7) < 4 * math.sqrt(0.21 / 400)


@BOTH
def test_nothing_is_altered_at_gamma_0(form):
    images = torch.randn(3, 2, 8, 8, generator=seeded())
    for mixed, targets, loss in watch(form(patchup_prob=1.0, gamma=0.0, layers=(1,)), images, range(5)):
        assert loss == 2.0
        assert torch.equal(mixed, images)
        assert torch.equal(targets, torch.eye(3))


def test_hard_swaps_everything_at_gamma_1_and_block_1():
    images = torch.randn(3, 2, 8, 8, generator=seeded())
    method = PatchUpHard(patchup_prob=1.0, gamma=1.0, block_size=1, layers=(1,))
    for mixed, targets, _ in watch(method, images, range(10)):
        perm = targets.argmax(1)
        assert torch.equal(mixed, images[perm])
        assert torch.equal(targets, torch.eye(3)[perm])


def test_soft_blends_maps_and_targets_with_one_lam():
    images = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 8, 8)
    lams = []
    for mixed, targets, _ in watch(PatchUpSoft(gamma=1.0, block_size=1, layers=(1,)), images, range(300)):
        torch.testing.assert_close(mixed, targets.view(3, 3, 1, 1).expand_as(mixed))
        lams += [share for share in targets.diagonal().tolist() if share < 1][:1]
    lams = torch.tensor(lams)
    assert abs(lams.mean() - 0.5) < 4 * lams.std() / math.sqrt(len(lams))
    assert abs(lams.std() - math.sqrt(1 / 20)) < 0.03  # Beta(2, 2)


@pytest.mark.parametrize(
    "method",
    [PatchUpHard(patchup_prob=1.0, layers=(0,)), PatchUpSoft(layers=(0,)), PatchUpInput(patchup_prob=1.0)],
    ids=lambda method: method.name,
)
def test_the_input_gets_one_rectangle_swapped_whole(method):
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 8, 8)
    altered = 0
    for mixed, targets, loss in watch(method, images, range(40)):
        assert loss == 2.0
        for sample in range(3):
            shares = torch.tensor([(mixed[sample] == value).float().mean() for value in range(3)])
            torch.testing.assert_close(targets[sample], shares)  # nothing is blended, and W follows the area
            inside = mixed[sample] != sample
            if inside.any():
                altered += 1
                rows, columns = inside[0].any(1), inside[0].any(0)
                assert torch.equal(inside, (rows[:, None] & columns).expand(2, 8, 8))
                assert all(edge.nonzero().diff(dim=0).eq(1).all() for edge in (rows, columns))
    assert altered > 20


def test_the_input_s_rectangle_is_cutmix_with_uniform_lam():
    images, targets, generator = torch.randn(4, 3, 32, 32, generator=seeded()), torch.eye(4), seeded()
    boxes = [draw_box(images, generator) for _ in range(6000)]
    for box in boxes[:20]:
        perm = torch.randperm(4, generator=generator)
        ours, theirs = patchup_input(images, targets, perm, box), cutmix(images, targets, perm, box)
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    areas = torch.tensor([box.area / 1024 for box in boxes], dtype=torch.float64)
    assert abs(areas.mean() - 0.299) < 4 * areas.std() / math.sqrt(len(boxes))
    empty = (2 / 32) ** 2  # of an alpha other than 1 there would be more, or hardly any
    assert abs((areas == 0).double().mean() - empty) < 4 * math.sqrt(empty / len(boxes))


def test_every_depth_is_drawn_equally_often_and_mixed_there():
    images, untouched = torch.randn(6, 1, 4, 4, generator=seeded()), []

    class Watching(nn.Module):
        def forward(self, hidden):
            untouched.append(torch.equal(hidden, images))
            return hidden

    net = nn.Sequential(Watching(), Watching(), Watching(), nn.Flatten())
    method, n = PatchUpHard(patchup_prob=1.0, gamma=1.0, layers=(1, 2, 3)), 600
    for seed in range(n):
        method.loss(net, images, torch.eye(6), a_step(lambda logits, targets: logits.sum(), seed))
    depths = [sum(untouched[run : run + 3]) for run in range(0, 3 * n, 3)]
    for depth in (1, 2, 3):
        assert abs(depths.count(depth) / n - 1 / 3) < 4 * math.sqrt(2 / 9 / n)


def test_blocks_by_hand():
    seeds = torch.zeros(1, 2, 5, 7)
    seeds[0, 0, 0, 0] = seeds[0, 0, 3, 5] = 1
    holes = block_holes(seeds, rows=3, columns=5)
    assert holes[0, 0].tolist() == [
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
    ]
    assert not holes[0, 1].any()


def test_seed_probability_by_hand():
    assert seed_probability(0.5, 8, 8, 3, 3) == pytest.approx(0.5 * 64 / (9 * 36))
    assert seed_probability(0.5, 32, 16, 7, 5) == pytest.approx(0.5 * 512 / (35 * 26 * 12))
    assert seed_probability(0.9, 7, 8, 7, 7) == pytest.approx(0.9 * 56 / (49 * 2))
    assert seed_probability(1.0, 5, 5, 1, 1) == 1.0
    assert seed_probability(1.0, 2, 2, 1, 1) <= 1.0


def test_scaled_blocks_are_those_of_the_official_wide_net():
    assert [scaled_block(7, side) for side in (32, 16, 8, 4, 1)] == [7, 5, 3, 1, 1]
    assert [scaled_block(9, side) for side in (64, 32, 16, 8)] == [19, 9, 5, 3]


# Worked out from eq. 2, seeds falling anywhere and blocks clipped: (share at gamma 0.5, share at gamma 0.75).
ALTERED = {
    (56, 3): (0.417, 0.561),
    (56, 5): (0.429, 0.569),
    (56, 7): (0.445, 0.587),
    (32, 3): (0.429, 0.574),
    (32, 5): (0.456, 0.599),
    (32, 7): (0.491, 0.636),
    (16, 3): (0.461, 0.609),
    (16, 5): (0.532, 0.680),
    (16, 7): (0.632, 0.773),
    (8, 3): (0.537, 0.691),
    (8, 5): (0.758, 0.879),
    (8, 7): (0.989, 0.999),
    (7, 3): (0.563, 0.717),
    (7, 5): (0.839, 0.934),
}


@pytest.mark.parametrize(("side", "block"), ALTERED)
@pytest.mark.parametrize(("column", "gamma"), [(0, 0.5), (1, 0.75)])
def test_share_of_altered_features(side, block, column, gamma):
    holes = draw_holes(torch.empty(1, 500, side, side), (block, block), gamma, seeded())
    each = holes.mean((0, 2, 3))
    # 6e-4 is the rounding of the expected value.
    assert abs(each.mean() - ALTERED[side, block][column]) < 4 * each.std() / math.sqrt(500) + 6e-4


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(12, 20, 3, 3), (9, 9, 3, 5), (16, 16, 7, 7)])
def test_holes_are_unions_of_blocks_clipped_at_the_border(height, width, rows, columns):
    holes = draw_holes(torch.empty(1, 200, height, width), (rows, columns), 0.4, seeded())
    assert 0.1 < holes.mean() < 0.95
    borders = (columns // 2,) * 2 + (rows // 2,) * 2
    # Beyond the border all counts as hole: a seed is wherever the whole block around it is one.
    seeds = -F.max_pool2d(-F.pad(holes, borders, value=1.0), (rows, columns), stride=1)
    assert torch.equal(F.max_pool2d(F.pad(seeds, borders), (rows, columns), stride=1), holes)


def test_mask_has_the_shape_of_one_sample_with_its_own_holes_in_each_channel():
    holes = draw_holes(torch.empty(5, 16, 12, 20), (3, 3), 0.5, seeded())
    assert holes.shape == (1, 16, 12, 20)
    assert holes.dtype == torch.float32
    assert set(holes.unique().tolist()) == {0.0, 1.0}
    assert len({tuple(channel.flatten().tolist()) for channel in holes[0]}) == 16


def test_a_block_larger_than_the_map_becomes_the_largest_odd_one_that_fits():
    hidden = torch.empty(1, 50, 4, 6)
    for blocks in [(7, 7), (5, 9), (3, 5)]:
        assert torch.equal(draw_holes(hidden, blocks, 0.5, seeded()), draw_holes(hidden, (3, 5), 0.5, seeded()))


def test_blocks_follow_the_map_and_are_not_remembered():
    """One method on a large map, a small one and the large one again: each time that map's own share is altered."""
    method = PatchUpHard(patchup_prob=1.0, layers=(1,))
    for side, expected in [(32, 0.491), (8, 0.537), (32, 0.491)]:
        images = torch.zeros(2, 400, side, side)
        images[1] = 1
        shares = torch.tensor([w[0, 1].item() for mixed, w, _ in watch(method, images, range(6)) if mixed[0].any()])
        assert len(shares) >= 2
        assert (shares - expected).abs().max() < 0.05


def test_misfits_name_depths_past_the_net_and_blocks_larger_than_their_map():
    sides = [(8, 8), (8, 8), (4, 4), (2, 2)]
    assert PatchUpHard(layers=(0, 1, 2, 3)).misfits(sides) == []
    [(field, sentence)] = PatchUpHard(layers=(0, 7)).misfits(sides)
    assert field == "layers"
    assert "0 to 3" in sentence
    assert "got 7" in sentence
    [(field, sentence)] = PatchUpSoft(layers=(0, 1, 2), scale_block=False).misfits(sides)
    assert field == "block_size"
    assert "7 x 7" in sentence
    assert "4 x 4 map at depth 2" in sentence
    assert PatchUpHard(layers=(0,), scale_block=False, block_size=99).misfits(sides) == []  # the input gets no blocks
    assert [field for field, _ in PatchUpHard(block_size=65).misfits(sides)] == ["block_size", "block_size"]


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"block_size": 4}, "must be odd, got 4; take 3 or 5"),
        ({"layers": ()}, "at least 1 item"),
        ({"layers": [1, 1]}, "listed once, got \\[1, 1\\]"),
        ({"layers": [-1]}, "greater than or equal to 0"),
        ({"gamma": 1.5}, "less than or equal to 1"),
        ({"gamma": "0.5"}, "valid number"),
        ({"patchup_prob": float("nan")}, "finite number"),
    ],
)
def test_illegal_values_are_refused(wrong, law):
    with pytest.raises(ValidationError, match=law):
        PatchUpHard(**wrong)
