"""The pre-activation nets: their maps, their parameters, and what sets their residual blocks apart."""

import pytest
import torch
from torch import nn

from tuner.models import PreActResNet18, PreActResNet34, map_sides
from tuner.models.preact_resnet import PreActBlock


def small_net(side=16):
    return PreActResNet18(width=4, blocks=(1, 2, 1, 1)).build(channels=1, classes=5, side=side)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, [(32, 32), (32, 32), (32, 32), (16, 16), (8, 8), (4, 4)]),
        (64, 64, [(64, 64), (32, 32), (32, 32), (16, 16), (8, 8), (4, 4)]),
        (8, 8, [(8, 8), (8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
        (16, 24, [(16, 24), (16, 24), (16, 24), (8, 12), (4, 6), (2, 3)]),
    ],
)
def test_the_maps_of_the_official_code(height, width, expected):
    assert map_sides(small_net(min(height, width)), 1, height, width) == expected


def test_width_blocks_and_channels_are_parameters():
    net = PreActResNet34(width=8, blocks=(1, 1, 2, 1)).build(channels=1, classes=7, side=8)
    assert [len(net.get_submodule(f"layer{layer}")) for layer in (1, 2, 3, 4)] == [1, 1, 2, 1]
    assert [net[:depth](torch.zeros(2, 1, 8, 8)).shape[1] for depth in range(1, 6)] == [8, 8, 16, 32, 64]
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_a_block_without_its_residual_is_its_shortcut():
    same, changing = PreActBlock(4, 4, stride=1).eval(), PreActBlock(4, 8, stride=2).eval()
    hidden = torch.randn(2, 4, 6, 6)
    for block in (same, changing):
        nn.init.zeros_(block.residual[-1].weight)
    assert torch.equal(same(hidden), hidden)  # the raw input
    activated = torch.relu(changing.activation[0](hidden))
    assert torch.equal(changing(hidden), changing.shortcut(activated))


def test_no_activation_after_the_last_stage():
    assert small_net()[:5](torch.randn(4, 1, 16, 16)).min() < 0
