"""The transport by hand on four blocks, against the paper's algorithm in loops, and what a plan must be."""

import pytest
import torch

from tuner.regularizers import transport
from tuner.regularizers.transport import move_blocks, transport_plan


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_case(n, height, width, generator):
    saliency = torch.rand(n, height, width, generator=generator).pow(4)
    saliency /= saliency.sum((1, 2), keepdim=True)
    return saliency, torch.randint(0, 3, (n, height, width), generator=generator) / 2


def test_golden():
    saliency = torch.tensor([[[0.7, 0.1], [0.1, 0.1]]])
    mask = torch.tensor([[[0.0, 0.0], [0.0, 0.5]]])
    # The last place costs block 0 .2 * 2 - .7 = -.3, block 3 -.1, and each other .2 - .1 where staying is free.
    assert transport_plan(saliency, mask, t_eps=0.2)[0, 3] == 0
    # At .4 the way costs .8 - .7 = .1: nobody moves.
    assert transport_plan(saliency, mask, t_eps=0.4).tolist() == [[0, 1, 2, 3]]


def test_who_has_lost_goes_for_the_next_place():
    saliency = torch.tensor([[[0.5, 0.3, 0.1, 0.1]]])
    mask = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    # Blocks 0 and 1 both prefer place 2, which is nearer; block 0 gets it, and block 1 goes on to place 3.
    assert transport_plan(saliency, mask, t_eps=0.1)[0, 2:].tolist() == [0, 1]


def loops(cost, rounds):
    """The paper's masked transport from a cost for each block and place, with infinity as its large value."""
    cost = cost.tolist()
    for _ in range(rounds):
        wishes = [min(range(len(row)), key=row.__getitem__) for row in cost]
        plan = {}
        for place in set(wishes):
            claimants = [block for block, wish in enumerate(wishes) if wish == place]
            plan[place] = min(claimants, key=lambda block, place=place: cost[block][place])
            for block in claimants:
                if block != plan[place]:
                    cost[block][place] = float("inf")
    return [plan.get(place, place) for place in range(len(cost))]


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (3, 5)])
@pytest.mark.parametrize("t_eps", [0.1, 0.8])
def test_a_plan_is_what_the_paper_loops_give(height, width, t_eps, monkeypatch):
    # Distances on a grid have ties, and either block may then win: here all are different.
    distances = torch.rand(height * width, height * width, generator=seeded(1)).fill_diagonal_(0)
    monkeypatch.setattr(transport, "_squared_distances", lambda *_: distances)
    saliency, mask = random_case(20, height, width, seeded(1))
    plan = transport_plan(saliency, mask, t_eps)
    for i in range(20):
        cost = t_eps * distances - saliency[i].view(-1, 1) * (mask[i].view(1, -1) > 0)
        assert plan[i].tolist() == loops(cost, rounds=max(height, width))


def test_distances_take_the_sides_as_1():
    distances = transport._squared_distances(3, 2, torch.device("cpu"))
    assert distances[0].tolist() == [0, 1, 0.25, 1.25, 1, 2]
    assert torch.equal(distances, distances.mT)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (16, 16), (4, 8)])
def test_no_block_is_shown_twice_and_shown_saliency_grows(height, width):
    saliency, mask = random_case(30, height, width, seeded(2))
    plan = transport_plan(saliency, mask, t_eps=0.1)
    shown = mask.flatten(1) > 0
    for blocks, seen in zip(plan, shown, strict=True):
        assert len(blocks[seen].unique()) == seen.sum()
    before, after = (
        saliency.flatten(1).gather(1, blocks) for blocks in (torch.arange(plan.shape[1]).expand_as(plan), plan)
    )
    assert ((after * shown).sum(1) >= (before * shown).sum(1) - 1e-6).all()
    assert (after * shown).sum() > 1.1 * (before * shown).sum()


@pytest.mark.parametrize("side", [2, 8])
def test_nothing_moves_where_all_is_shown_or_nothing_or_ways_are_dear(side):
    saliency, mask = random_case(20, side, side, seeded(3))
    stay = torch.arange(side * side).expand(20, -1)
    assert torch.equal(transport_plan(saliency, torch.ones_like(mask), 0.8), stay)
    assert torch.equal(transport_plan(saliency, torch.zeros_like(mask), 0.8), stay)
    assert torch.equal(transport_plan(saliency, mask, 1000.0), stay)


def test_moving_by_hand():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    moved = move_blocks(image, torch.tensor([[3, 1, 0, 2]]), 2, 2)
    assert moved[0, 0].tolist() == [[10, 11, 2, 3], [14, 15, 6, 7], [0, 1, 8, 9], [4, 5, 12, 13]]
    wide = move_blocks(image.view(1, 1, 2, 8), torch.tensor([[1, 0]]), 1, 2)
    assert wide[0, 0].tolist() == [[4, 5, 6, 7, 0, 1, 2, 3], [12, 13, 14, 15, 8, 9, 10, 11]]


def test_moving_there_and_back_for_each_image_its_own_way():
    images = torch.randn(5, 3, 8, 12, generator=seeded(4))
    for height, width in [(1, 1), (2, 4), (4, 4), (8, 12)]:
        plan = torch.stack([torch.randperm(height * width, generator=seeded(i)) for i in range(5)])
        moved = move_blocks(images, plan, height, width)
        assert moved.is_contiguous()
        assert torch.equal(move_blocks(moved, plan.argsort(1), height, width), images)
