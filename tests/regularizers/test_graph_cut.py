"""Energies by hand, the exact cut against all labellings there are, and the batched cut against the exact one."""

import itertools

import pytest
import torch

from benchmarks.graph_cut import excess_of, problems
from tuner.regularizers.graph_cut import energy, exact_graph_cut, graph_cut

every_number_of_labels = pytest.mark.parametrize("n_labels", [2, 3, 4])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def convex_problem(batch, n_labels, height, width, generator):
    """Costs whose slopes grow with the label, and weights of about the slopes' size."""
    slopes = torch.randn(batch, n_labels - 1, height, width, generator=generator).sort(1).values
    unary = torch.cat([torch.rand(batch, 1, height, width, generator=generator), slopes], 1).cumsum(1)
    down = 3 * torch.rand(batch, height - 1, width, generator=generator)
    right = 3 * torch.rand(batch, height, width - 1, generator=generator)
    return unary, down, right


def test_energy_by_hand():
    labels = torch.tensor([[[0, 2, 1], [2, 2, 0]]])
    unary = torch.tensor([0.0, 10.0, 20.0]).view(1, 3, 1, 1).expand(1, 3, 2, 3)
    down = torch.tensor([[[1.0, 2.0, 4.0]]])
    right = torch.tensor([[[8.0, 16.0], [32.0, 64.0]]])
    # Own costs 0 + 20 + 10 + 20 + 20 + 0; down 1 * 1 + 2 * 0 + 4 / 4; right 8 * 1 + 16 / 4 and 32 * 0 + 64 * 1.
    assert energy(labels, unary, down, right).tolist() == [70 + 1 + 1 + 8 + 4 + 64]
    several = energy(torch.stack([labels, torch.zeros_like(labels)]), unary, down, right)
    assert several.tolist() == [[148.0], [0.0]]


@every_number_of_labels
@pytest.mark.parametrize(("height", "width"), [(2, 2), (1, 5), (3, 2)])
def test_the_exact_cut_is_the_best_of_all_labellings(n_labels, height, width):
    batch = convex_problem(6, n_labels, height, width, seeded(1))
    every = torch.tensor(list(itertools.product(range(n_labels), repeat=height * width))).view(-1, 1, height, width)
    least = energy(every.expand(-1, 6, -1, -1), *batch).amin(0)
    labels = torch.stack([exact_graph_cut(*(costs[i] for costs in batch)) for i in range(6)])
    torch.testing.assert_close(energy(labels, *batch), least)
    assert len(labels.unique()) > 1
    torch.testing.assert_close(energy(graph_cut(*batch), *batch), least)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("blocks", [2, 4, 8, 16])
def test_the_batched_cut_is_all_but_exact(n_labels, blocks):
    excess = torch.cat(
        [excess_of(graph_cut(*problem), problem) for problem in problems(60, n_labels, blocks, seeded(2))]
    )
    assert excess.min() > -1e-5  # the exact one is exact
    assert excess.mean() < 0.001
    assert excess.quantile(0.99) < 0.005


@every_number_of_labels
def test_random_costs_and_weights_come_close_too(n_labels):
    unary, down, right = convex_problem(20, n_labels, 16, 16, seeded(3))
    batch = unary, down / 3, right / 3
    labels = graph_cut(*batch)
    exactly = torch.stack([exact_graph_cut(*(costs[i] for costs in batch)) for i in range(20)])
    found, least = energy(labels, *batch), energy(exactly, *batch)
    constant = torch.arange(n_labels).view(-1, 1, 1, 1).expand(-1, *labels.shape)
    span = energy(constant, *batch).amax(0) - least  # these energies may be negative
    assert ((found - least) / span).max() < 0.01


@every_number_of_labels
def test_blocks_without_neighbours_take_their_own_best_label(n_labels):
    unary, down, right = convex_problem(5, n_labels, 4, 6, seeded(4))
    assert torch.equal(graph_cut(unary, 0 * down, 0 * right), unary.argmin(1))


@every_number_of_labels
def test_strong_weights_leave_one_label(n_labels):
    unary, down, right = convex_problem(8, n_labels, 8, 8, seeded(5))
    labels = graph_cut(unary, 100 + down, 100 + right)
    assert torch.equal(labels, unary.sum((2, 3)).argmin(1).view(-1, 1, 1).expand_as(labels))


@every_number_of_labels
def test_one_label_that_is_best_everywhere_is_taken_everywhere(n_labels):
    _, down, right = convex_problem(4, n_labels, 8, 8, seeded(6))
    for best in range(n_labels):
        unary = (torch.arange(n_labels) - best).abs().float().view(1, -1, 1, 1).expand(4, -1, 8, 8)
        assert (graph_cut(unary, down, right) == best).all()


def test_a_jump_over_two_labels_pays_more_than_twice():
    # From labels 2 and 0 one step costs 2.5 or 2.4 and saves 4 - 1; a second one would save only 1.
    unary = torch.tensor([[[5.0, 0.0]], [[2.5, 2.4]], [[0.0, 4.8]]]).unsqueeze(0)
    assert graph_cut(unary, torch.zeros(1, 0, 2), torch.full((1, 1, 1), 4.0)).tolist() == [[[2, 1]]]


def test_a_grid_does_not_depend_on_its_batch_nor_on_the_unit_of_its_costs():
    batch = convex_problem(4, 3, 8, 8, seeded(7))
    labels = graph_cut(*batch)
    for i in range(4):
        assert torch.equal(graph_cut(*(costs[i : i + 1] for costs in batch))[0], labels[i])
    assert torch.equal(graph_cut(*(costs / 1024 for costs in batch)), labels)


def test_upside_down_and_mirrored_grids_get_mirrored_labels():
    unary, down, right = convex_problem(4, 3, 4, 6, seeded(8))
    labels = graph_cut(unary, down, right)
    assert torch.equal(graph_cut(unary.flip(2), down.flip(1), right.flip(1)), labels.flip(1))
    assert torch.equal(graph_cut(unary.mT, right.mT, down.mT), labels.mT)
