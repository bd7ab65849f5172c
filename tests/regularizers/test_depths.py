"""The depths that methods work at: what may be written, how they are drawn, and how a net is walked."""

import json
import math

import pytest
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from tuner.regularizers.depths import HiddenLayers, Layers, alter_at, draw_depth, layers_hp, too_deep


class Anywhere(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    layers: Layers = layers_hp((0, 1), "to test", source="none")


class Hidden(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    layers: HiddenLayers = layers_hp((1, 2), "to test", source="none")


@pytest.mark.parametrize(
    ("written", "depths"),
    [
        ((0, 2), (0, 2)),
        ([3, 1], (3, 1)),
        ("manifold_mixup", (0, 2, 3)),
        ("patchup", (0, 1, 2)),
        ("patchup_wrn", (0, 1, 2, 3)),
    ],
)
def test_a_list_a_tuple_and_a_paper_s_name_become_the_tuple(written, depths):
    given = Anywhere(layers=written)
    assert given.layers == depths
    assert isinstance(given.layers, tuple)
    assert Anywhere(**given.model_dump()) == given
    assert Anywhere.model_validate_json(json.dumps({"layers": written}), strict=True) == given
    assert Anywhere.model_validate_json(given.model_dump_json()) == given


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ("patchups", r"called 'patchups'; known are manifold_mixup \[0, 2, 3\], patchup \[0, 1, 2\], patchup_wrn"),
        ((), "at least 1 item"),
        ([1, 1], r"listed once, got \[1, 1\]"),
        ([-1], "greater than or equal to 0"),
        ([1.0], "valid integer"),
        (["1"], "valid integer"),
        (1, "valid tuple"),
    ],
)
def test_what_is_no_set_of_depths_is_refused(wrong, law):
    with pytest.raises(ValidationError, match=law):
        Anywhere(layers=wrong)


@pytest.mark.parametrize("wrong", [[0], [0, 1]])
def test_methods_that_drop_features_leave_the_input_alone(wrong):
    assert Hidden(layers=[2, 3]).layers == (2, 3)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Hidden(layers=wrong)
    with pytest.raises(ValidationError, match="must be a list of depths from 1 on"):
        Hidden(layers="patchup")


def test_each_depth_is_drawn_equally_often():
    generator, n = torch.Generator().manual_seed(0), 1500
    drawn = [draw_depth((0, 2, 5), generator) for _ in range(n)]
    assert set(drawn) == {0, 2, 5}
    for depth in (0, 2, 5):
        assert abs(drawn.count(depth) / n - 1 / 3) < 4 * math.sqrt(2 / 9 / n)


def test_a_walk_alters_each_listed_map_once_and_runs_each_stage_once():
    class AppendDigit(nn.Module):
        def __init__(self, digit):
            super().__init__()
            self.digit = digit

        def forward(self, hidden):
            return 10 * hidden + self.digit

    net = nn.Sequential(*(AppendDigit(digit) for digit in (1, 2, 3, 4)))
    images = torch.zeros(1, 1, 2, 2)
    for layers, expected in [((1,), 10234), ((3, 1), 102304), ((4,), 12340), ((2, 9), 12034)]:
        logits = alter_at(layers, lambda hidden: 10 * hidden, net, images)
        assert torch.equal(logits, torch.full((1, 1, 2, 2), float(expected)))
    assert not images.any()


def test_depths_past_the_net_are_misfits():
    sides = [(8, 8), (8, 8), (4, 4)]
    assert too_deep((0, 1, 2), sides) == []
    assert too_deep((3, 0, 7), sides) == [
        ("layers", "this net has maps at depths 0 to 2, got 3; take 3 out of layers"),
        ("layers", "this net has maps at depths 0 to 2, got 7; take 7 out of layers"),
    ]
