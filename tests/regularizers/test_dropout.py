"""Dropout of features and of channels: by hand on a 4x4 map, and the law of what is dropped."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.dropout import Dropout, SpatialDropout, dropout

BOTH = pytest.mark.parametrize("form", [Dropout, SpatialDropout])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def watch(method, net, images, seeds):
    """For each seed what leaves the net."""
    seen = []

    def criterion(hidden, targets):
        assert torch.equal(targets, torch.eye(len(images)))
        seen.append(hidden)
        return hidden.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
        method.loss(net, images, torch.eye(len(images)), step)
    return seen


def test_golden_features():
    hidden = torch.arange(16.0).view(1, 1, 4, 4)
    before = hidden.clone()
    kept = torch.eye(4, dtype=torch.bool).view(1, 1, 4, 4)
    dropped = dropout(hidden, kept, drop_rate=0.75)
    assert dropped[0, 0].tolist() == [[0, 0, 0, 0], [0, 20, 0, 0], [0, 0, 40, 0], [0, 0, 0, 60]]
    assert torch.equal(hidden, before)


def test_golden_channels():
    hidden = torch.arange(64.0).view(2, 2, 4, 4)
    kept = torch.tensor([[True, False], [False, True]]).view(2, 2, 1, 1)
    dropped = dropout(hidden, kept, drop_rate=0.5)
    assert torch.equal(dropped[0, 0], 2 * hidden[0, 0])
    assert torch.equal(dropped[1, 1], 2 * hidden[1, 1])
    assert not dropped[0, 1].any()
    assert not dropped[1, 0].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_stay_so(dtype):
    hidden = torch.randn(2, 3, 4, 4, generator=seeded()).to(dtype)
    assert dropout(hidden, torch.ones(2, 3, 1, 1, dtype=torch.bool), drop_rate=0.3).dtype == dtype


@pytest.mark.parametrize("drop_rate", [0.02, 0.3, 0.9])
def test_each_feature_is_dropped_by_itself_and_the_mean_stays(drop_rate):
    images, n = torch.ones(4, 50, 20, 10), 40000
    [hidden] = watch(Dropout(drop_rate=drop_rate, layers=(1,)), nn.Sequential(nn.Identity()), images, [0])
    kept = hidden != 0
    torch.testing.assert_close(hidden[kept], torch.full_like(hidden[kept], 1 / (1 - drop_rate)))
    error = math.sqrt(drop_rate * (1 - drop_rate) / n)
    assert abs((~kept).float().mean() - drop_rate) < 4 * error
    assert abs(hidden.mean() - 1) < 4 * error / (1 - drop_rate)
    # Neighbours, channels and samples know nothing of each other: pairs are dropped as often as chance has it.
    for pairs in [kept[..., 1:] | kept[..., :-1], kept[:, 1:] | kept[:, :-1], kept[1:] | kept[:-1]]:
        both, chance = (~pairs).float().mean(), drop_rate**2
        assert abs(both - chance) < 6 * math.sqrt(chance * (1 - chance) / pairs.numel())  # pairs overlap


@pytest.mark.parametrize("drop_rate", [0.1, 0.5])
def test_channels_are_dropped_whole_for_each_sample_by_itself(drop_rate):
    images, n = torch.ones(40, 100, 3, 5), 4000
    [hidden] = watch(SpatialDropout(drop_rate=drop_rate, layers=(1,)), nn.Sequential(nn.Identity()), images, [0])
    assert torch.equal(hidden, hidden[..., :1, :1].expand_as(hidden))
    dropped = hidden[..., 0, 0] == 0
    assert abs(dropped.float().mean() - drop_rate) < 4 * math.sqrt(drop_rate * (1 - drop_rate) / n)
    assert len({tuple(sample.tolist()) for sample in dropped}) == 40


@BOTH
def test_every_listed_depth_drops_in_every_batch_with_a_mask_of_its_own_and_each_stage_runs_once(form):
    images, zeros = torch.ones(8, 60, 4, 4), []

    class Watching(nn.Module):
        def forward(self, hidden):
            zeros.append((hidden == 0).float().mean().item())
            return hidden

    net = nn.Sequential(*(Watching() for _ in range(5)))
    for hidden in watch(form(drop_rate=0.5), net, images, range(10)):
        assert 0.8 < (hidden == 0).float().mean() < 0.95  # 1 - .5^3
    assert len(zeros) == 50
    for run in range(0, 50, 5):
        assert zeros[run] == zeros[run + 1] == 0 < zeros[run + 2] < zeros[run + 3] < zeros[run + 4]


@BOTH
def test_nothing_is_dropped_at_rate_0(form):
    images = torch.randn(3, 2, 4, 4, generator=seeded())
    net = nn.Sequential(*(nn.Identity() for _ in range(5)))
    assert all(torch.equal(hidden, images) for hidden in watch(form(drop_rate=0.0), net, images, range(5)))


@BOTH
def test_misfits_are_depths_past_the_net(form):
    sides = [(8, 8), (8, 8), (8, 8), (4, 4), (2, 2)]
    assert form().misfits(sides) == []
    assert [field for field, _ in form(layers=(1, 5)).misfits(sides)] == ["layers"]


@BOTH
@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"drop_rate": 1.0}, "less than 1"),
        ({"drop_rate": -0.1}, "greater than or equal to 0"),
        ({"layers": (0,)}, "greater than or equal to 1"),
    ],
)
def test_illegal_values_are_refused(form, wrong, law):
    with pytest.raises(ValidationError, match=law):
        form(**wrong)
