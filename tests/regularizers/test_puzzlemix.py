"""Puzzle Mix by hand on a 4x4 image, its saliency, what the saliency pass leaves behind, and the law of its mask."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers import puzzlemix as module
from tuner.regularizers.graph_cut import energy, graph_cut
from tuner.regularizers.puzzlemix import (
    PuzzleMix,
    clean_pass,
    neighbours,
    prior,
    puzzlemix,
    seams,
    share_of_blocks,
)
from tuner.regularizers.transport import transport_plan
from tuner.training.criterion import CRITERIA, soft_cross_entropy


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_step(seed=0, criterion=soft_cross_entropy):
    return Step(criterion, seeded(seed), progress=0.0, mean=(0.5,), std=(0.25,))


def a_net(side=8):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * side**2, 3)
    )


def a_batch(n=6, height=8, width=8):
    return torch.randn(n, 2, height, width, generator=seeded(9)), torch.eye(3)[torch.arange(n) % 3]


def watch(method, images, seeds):
    """For each seed what the net is trained on, images and targets; saliency is that of a fixed random weighting."""
    seen = []
    weighting = torch.rand(images.shape, generator=seeded(7)).square()

    def criterion(logits, targets):
        seen.append((logits.view_as(images), targets))
        return (logits.view_as(images) * weighting).sum()

    mixed = []
    for seed in seeds:
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(len(images)), a_step(seed, criterion))
        mixed.append(seen[-1])
    return mixed


def test_golden_mix():
    own = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 8.0)])
    mask = torch.tensor([[[[1, 0.5], [0, 1]]], [[[0, 0], [0, 0.5]]]])
    mixed, targets = puzzlemix(own, own.flip(0), torch.eye(2), torch.tensor([1, 0]), mask)
    assert mixed[0, 0].tolist() == [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 0, 0], [8, 8, 0, 0]]
    assert mixed[1, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 4, 4], [0, 0, 4, 4]]
    assert targets.tolist() == [[5 / 8, 3 / 8], [7 / 8, 1 / 8]]


def test_golden_costs():
    saliency = torch.tensor([[[4, 4, 3, 3], [4, 4, 3, 3], [2, 2, 1, 1], [2, 2, 1, 1.0]]]).repeat(2, 1, 1)
    saliency[1] = saliency[1].flip(0, 1) * 50  # its scale does not matter
    colours = torch.zeros(2, 1, 4, 4)
    colours[0, :, 2:] = 1  # a border across the own image, between its blocks
    method = PuzzleMix(n_labels=3, beta=3.2, gamma=0.5, eta=0.4, neigh_size=4)
    unary, down, right = method.costs(colours, saliency, torch.tensor([1, 0]), lam=0.2, blocks=2)

    weight = 3.2 / (16 * 2)
    # d: own on own 1, own on partner 0, partner on own 1, partner on partner 0. Above z tilts by (1 + 0 - 1 - 0) / 2,
    # below by (1 + 1 - 0 - 0) / 2; the weight's factor is 1 + gamma * (0 + 1 - 1 - 0) / 2.
    torch.testing.assert_close(down[0], torch.full((1, 2), weight))
    # In the lower row unlike neighbours would jump: 1 + gamma * (1 + 1 - 0 - 0) / 2.
    torch.testing.assert_close(right[0], torch.tensor([[weight], [1.5 * weight]]))
    own, partner = torch.tensor([[0.4, 0.3], [0.2, 0.1]]), torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    shown = partner + weight * 0.5 * torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    surprise = [-0.1 * math.log(p) for p in (0.64, 0.32, 0.04)]
    expected = torch.stack([own + surprise[0], (own + shown) / 2 + surprise[1], shown + surprise[2]])
    torch.testing.assert_close(unary[0], expected)


def test_with_saliency_alone_each_block_is_shown_of_whom_it_matters_to():
    saliency = torch.rand(6, 8, 8, generator=seeded(1))
    perm = torch.tensor([1, 2, 3, 4, 5, 0])
    costs = PuzzleMix(beta=0.0, eta=0.0).costs(
        torch.rand(6, 2, 8, 8, generator=seeded(8)), saliency, perm, lam=0.5, blocks=4
    )
    share = share_of_blocks(saliency, 4, 4)
    assert torch.equal(graph_cut(*costs), 2 * (share > share[perm]).long())


def test_colours_are_averaged_over_neigh_size_before_borders_are_compared():
    colours = torch.zeros(2, 1, 4, 4)
    colours[0, 0, 1] = 1  # a line right above the border between the own image's blocks

    def tilt(neigh_size):
        method = PuzzleMix(neigh_size=neigh_size, gamma=1.0, beta=32.0, eta=0.0)
        unary, _, _ = method.costs(colours, torch.ones(2, 4, 4), torch.tensor([1, 0]), 0.5, blocks=2)
        return unary[0, 2] - unary[0, 0]

    # To show the upper block costs the jump to whatever is below, half from each of the two that may be there.
    assert tilt(1).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert tilt(2).tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_borders_are_compared_in_colours_and_not_in_deviations(monkeypatch):
    seen, costs = [], PuzzleMix.costs

    def watching(self, colours, *others):
        seen.append(colours)
        return costs(self, colours, *others)

    monkeypatch.setattr(PuzzleMix, "costs", watching)
    images = torch.randn(2, 1, 8, 8, generator=seeded(1))
    step = Step(soft_cross_entropy, seeded(), progress=0.0, mean=(0.5,), std=(0.25,))
    PuzzleMix().loss(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images, torch.eye(2), step)
    torch.testing.assert_close(seen[0], 0.25 * images)


def test_seams_by_hand():
    above, below = torch.zeros(1, 2, 4, 6), torch.zeros(1, 2, 4, 6)
    above[0, 0, 1] = torch.tensor([1, 2, 3, 4, 5, 6.0])
    below[0, 1, 2] = torch.tensor([0, 0, 3, 0, 0, 3.0])
    # Differences of both channels over borders 3 pixels long: (1 + 2 + 3 + 3) / 6 and (4 + 5 + 6 + 3) / 6.
    assert seams(above, below, 2, 2).tolist() == [[[1.5, 3.0]]]
    assert seams(below, above, 2, 2).tolist() == [[[0.0, 0.0]]]


def test_neighbours_are_the_cost_of_the_colours_that_meet():
    own, partner = torch.rand(2, 3, 2, 8, 8, generator=seeded(2)).unbind()
    weights, tilt = neighbours(own, partner, 2, 2, gamma=0.8)
    total = {}
    for up, low in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        jump = seams((partner, own)[up], (partner, own)[low], 2, 2)[:, 0]
        ours = weights[:, 0] * (up - low) ** 2 + tilt[:, 0] * up + tilt[:, 1] * low
        total[up, low] = ours - ((up - low) ** 2 + 0.8 * jump)
    for difference in total.values():  # one constant for each pair of blocks
        torch.testing.assert_close(difference, total[0, 0])
    assert (weights > 0).all()


@pytest.mark.parametrize(
    ("n_labels", "pmf"), [(2, [0.7, 0.3]), (3, [0.49, 0.42, 0.09]), (4, [0.343, 0.441, 0.189, 0.027])]
)
def test_prior_is_binomial_and_finite_at_the_ends(n_labels, pmf):
    assert prior(0.3, n_labels) == pytest.approx([-math.log(p) for p in pmf])
    for lam in (0.0, 1e-12, 0.5, 1.0):
        steps = torch.tensor(prior(lam, n_labels), dtype=torch.float64).diff()
        assert steps.isfinite().all()
        assert (steps.diff() > 0).all()  # convex, as the cut asks


@pytest.mark.parametrize("n_labels", [2, 3, 4])
@pytest.mark.parametrize(("lam", "label"), [(0.999, 1.0), (0.001, 0.0)])
def test_a_strong_prior_decides_alone(n_labels, lam, label):
    method = PuzzleMix(n_labels=n_labels, eta=10.0)
    colours, saliency = torch.rand(4, 2, 8, 8, generator=seeded(8)), torch.rand(4, 8, 8, generator=seeded(9))
    costs = method.costs(colours, saliency, torch.arange(3, -1, -1), lam, blocks=4)
    assert (graph_cut(*costs) / (n_labels - 1) == label).all()


def test_areas_follow_lam():
    saliency, colours = torch.rand(50, 16, 16, generator=seeded(3)), torch.rand(50, 2, 16, 16, generator=seeded(4))
    perm = torch.roll(torch.arange(50), 1)
    areas = [
        graph_cut(*PuzzleMix().costs(colours, saliency, perm, lam, 8)).float().mean() / 2 for lam in (0.2, 0.5, 0.8)
    ]
    assert areas[0] < 0.4 < areas[1] < 0.6 < areas[2]


def test_heavier_beta_gives_smoother_masks():
    saliency, colours = torch.rand(50, 16, 16, generator=seeded(3)) ** 4, torch.rand(50, 2, 16, 16, generator=seeded(4))
    perm = torch.roll(torch.arange(50), 1)
    borders = []
    for weight in (0.1, 1.2):
        labels = graph_cut(*PuzzleMix(beta=weight).costs(colours, saliency, perm, 0.5, 8))
        ones = torch.ones(50, 7, 8)
        borders.append(energy(labels, torch.zeros(50, 3, 8, 8), ones, ones.mT).mean())
    assert borders[1] < 0.7 * borders[0]


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_saliency_is_the_length_of_the_gradient(criterion):
    net, (images, targets) = a_net().eval(), a_batch()
    pixels = images.clone().requires_grad_()
    criterion(net(pixels), targets).backward()
    _, saliency = clean_pass(net, images, targets, criterion)
    torch.testing.assert_close(saliency, pixels.grad.square().sum(1).sqrt())


def test_saliency_by_hand_for_a_linear_net():
    images, targets = a_batch(2)
    linear = nn.Linear(128, 3)
    _, saliency = clean_pass(nn.Sequential(nn.Flatten(), linear), images, targets, soft_cross_entropy)
    error = (linear(images.flatten(1)).softmax(1) - targets) / 2  # the mean over two samples
    torch.testing.assert_close(saliency, (error @ linear.weight).view(2, 2, 8, 8).norm(dim=1))


def test_shares_sum_to_1_and_are_even_where_there_is_no_saliency():
    saliency = torch.rand(4, 8, 12, generator=seeded(5))
    saliency[1] = 0
    saliency[2, 3, 3] = torch.nan
    share = share_of_blocks(saliency, 4, 2)
    torch.testing.assert_close(share.sum((1, 2)), torch.ones(4))
    assert share[0, 1, 1] == pytest.approx((saliency[0, 2:4, 6:].sum() / saliency[0].sum()).item())
    assert (share[1:3] == 1 / 8).all()


def test_a_sure_net_gives_a_finite_loss():
    images, _ = a_batch(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    nn.init.zeros_(net[1].weight)  # no pixel matters
    assert PuzzleMix().loss(net, images, torch.eye(3), a_step()).isfinite()


class Modes(nn.Module):
    """Records how it is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, hidden):
        self.calls.append((self.training, torch.is_autocast_enabled("cpu"), hidden.dtype))
        return hidden


@pytest.mark.parametrize("clean_lam", [0.0, 1.0])
def test_the_saliency_pass_is_float32_and_leaves_no_trace_without_clean_loss(clean_lam):
    modes, (images, targets) = Modes(), a_batch()
    net = nn.Sequential(modes, *a_net())
    frozen = nn.BatchNorm2d(2).eval()
    net.insert(1, frozen)
    with torch.autocast("cpu", torch.bfloat16):
        PuzzleMix(clean_lam=clean_lam).loss(net, images, targets, a_step())
    # In eval mode for saliency alone, in training mode where its loss counts; then the mixed images.
    assert modes.calls == [(clean_lam > 0, False, torch.float32), (True, True, torch.float32)]
    assert net[3].num_batches_tracked == 1 + clean_lam
    assert [module.training for module in net] == [True, False] + [True] * 5
    assert all(parameter.grad is None for parameter in net.parameters())


def test_modes_come_back_when_something_raises():
    def criterion(logits, targets):
        raise RuntimeError("out of memory")

    net, (images, targets) = a_net(), a_batch()
    with pytest.raises(RuntimeError, match="out of memory"):
        PuzzleMix().loss(net, images, targets, a_step(criterion=criterion))
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_clean_lam_gives_the_gradient_of_two_backwards_in_turn(criterion):
    ours, official = a_net(), a_net()
    images, targets = a_batch()
    reached = []
    ours[0].register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0].detach().clone()))
    seen = []

    def watching(logits, mixed_targets):
        seen.append(mixed_targets)
        return criterion(logits, mixed_targets)

    PuzzleMix(clean_lam=0.7).loss(ours, images, targets, a_step(criterion=watching)).backward()
    (clean, mixed), (_, mixed_targets) = reached, seen
    assert torch.equal(clean, images)
    assert not torch.equal(mixed, images)
    (0.7 * criterion(official(images), targets)).backward()
    criterion(official(mixed), mixed_targets).backward()
    for one, other in zip(ours.parameters(), official.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(ours.buffers(), official.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("transport", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16)])
def test_targets_are_shares_of_the_area(transport, height, width):
    values = torch.tensor([0.0, 1.0, 3.0])
    images = values.view(3, 1, 1, 1).expand(3, 2, height, width)
    mixed_targets = []
    for mixed, targets in watch(PuzzleMix(transport=transport), images, range(20)):
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ values)
        assert torch.equal(mixed[:, 0], mixed[:, 1])
        mixed_targets.append(targets)
    shares = torch.stack(mixed_targets).diagonal(dim1=1, dim2=2)
    assert ((shares > 0.05) & (shares < 0.95)).float().mean() > 0.15  # some pairs are a sample and itself


def test_masks_are_made_for_each_sample():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 8, 8)
    different = [(targets.amax(1).unique().numel() > 1) for _, targets in watch(PuzzleMix(), images, range(10))]
    assert sum(different) > 3


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_the_mask_has_as_many_levels_as_asked_for(n_labels):
    images = torch.zeros(2, 1, 16, 16)
    images[1] = n_labels - 1
    seen = set()
    for mixed, _ in watch(PuzzleMix(n_labels=n_labels, beta=0.2), images, range(30)):
        seen |= {round(value, 5) for value in mixed.unique().tolist()}
    assert seen == set(range(n_labels))


@pytest.mark.parametrize("t_size", [-1, 2])
def test_transport_shows_own_blocks_elsewhere_and_only_whole(t_size):
    """Each pixel says whose it is and which transported block of 2x2 it belongs to, and where in it."""
    method = PuzzleMix(block_nums=(4,) if t_size == -1 else (2,), n_labels=2, beta=0.1, t_eps=0.05, t_size=t_size)
    blocks = torch.arange(16.0).view(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1)
    within = torch.tensor([[0, 1], [2, 3]]).repeat(4, 4)
    images = torch.stack([blocks, blocks + 100, blocks + 200]).unsqueeze(1)
    images = torch.cat([images, within.expand_as(images)], 1) / 256  # colours stay in [0, 1], and exact
    moved = 0
    for mixed, targets in watch(method, images, range(20)):
        ids, offsets = (256 * mixed).unbind(1)
        assert torch.equal(offsets, within.float().expand(3, -1, -1))
        assert torch.equal(ids, ids[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))
        for sample in range(3):
            assert len(ids[sample].unique()) == 16  # every block is shown once
            owners = (ids[sample] // 100).long()
            torch.testing.assert_close(targets[sample], owners.flatten().bincount(minlength=3) / 64)
        moved += (ids % 100 != blocks).any().item()
    assert moved > 5


def test_each_image_moves_by_its_own_saliency_to_where_it_is_shown(monkeypatch):
    images, calls, pairs = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 8, 8), [], 0

    def watching(saliency, mask, t_eps):
        calls.append((saliency, mask))
        return transport_plan(saliency, mask, t_eps)

    monkeypatch.setattr(module, "transport_plan", watching)
    mixed = watch(PuzzleMix(), images, range(15))
    for (own, own_mask), (partner, partner_mask), (_, targets) in zip(calls[::2], calls[1::2], mixed, strict=True):
        assert torch.equal(partner_mask, 1 - own_mask)
        for sample, other in (targets * (1 - torch.eye(3))).nonzero().tolist():
            assert torch.equal(partner[sample], own[other])
            pairs += 1
    assert pairs > 5


def test_mixup_prob_is_the_share_of_mixed_batches(monkeypatch):
    images, n = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 4, 4), 300
    assert all(torch.equal(mixed, images) for mixed, _ in watch(PuzzleMix(mixup_prob=0.0), images, range(5)))
    calls = []

    def criterion(logits, targets):
        calls.append(logits)
        return logits.sum()

    monkeypatch.setattr(module, "graph_cut", lambda unary, down, right: unary.argmin(1))
    method = PuzzleMix(mixup_prob=0.6, transport=False)
    for seed in range(n):
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(3), a_step(seed, criterion))
    assert abs((len(calls) - n) / n - 0.6) < 4 * math.sqrt(0.24 / n)  # a mixed batch calls twice


def test_numbers_of_blocks_that_divide_the_image_are_drawn_equally_often(monkeypatch):
    drawn, n = [], 300

    def watching(unary, down, right):
        drawn.append(tuple(unary.shape[2:]))
        return unary.argmin(1)

    monkeypatch.setattr(module, "graph_cut", watching)
    watch(PuzzleMix(transport=False), torch.rand(2, 1, 8, 8), range(n))
    assert set(drawn) == {(2, 2), (4, 4), (8, 8)}
    for blocks in set(drawn):
        assert abs(drawn.count(blocks) / n - 1 / 3) < 4 * math.sqrt(2 / 9 / n)


def test_misfits_name_sides_that_do_not_divide():
    assert PuzzleMix().misfits([(8, 8), (4, 4)]) == []
    assert PuzzleMix().misfits([(224, 224)]) == []
    [(field, sentence)] = PuzzleMix().misfits([(7, 8), (4, 4)])
    assert field == "block_nums"
    assert "7 x 8 divides into none of [2, 4, 8, 16]" in sentence
    assert PuzzleMix(t_size=4).misfits([(32, 32)]) == []
    [(field, sentence)] = PuzzleMix(t_size=3).misfits([(32, 32)])
    assert field == "t_size"
    assert "16 pixels (32 in 2 blocks) do not divide by 3" in sentence
    assert PuzzleMix(t_size=3, transport=False).misfits([(32, 32)]) == []
    images, targets = a_batch(height=7, width=8)
    with pytest.raises(ValueError, match="whole number of blocks"):
        PuzzleMix().loss(nn.Sequential(nn.Flatten(), nn.Linear(112, 3)), images, targets, a_step())


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"gamma": 1.5}, "less than or equal to 1"),
        ({"n_labels": 1}, "greater than or equal to 2"),
        ({"t_eps": 0.0}, "greater than 0"),
        ({"t_size": 0}, "has 1 pixel a side or more, got 0"),
        ({"block_nums": ()}, "at least 1 item"),
        ({"block_nums": [1]}, "greater than or equal to 2"),
        ({"alpha": 0.0}, "greater than or equal to 0.01"),
    ],
)
def test_illegal_values_are_refused(wrong, law):
    with pytest.raises(ValidationError, match=law):
        PuzzleMix(**wrong)
