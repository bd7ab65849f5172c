"""WRN-28-10: the maps of PatchUp's code, a block by hand, and the two options that lead back to the authors' code."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tuner.models import WideResNet, map_sides
from tuner.models.wide_resnet import WideBlock


def narrow(side=32, **options):
    return WideResNet(depth=10, widen_factor=1, **options).build(channels=3, classes=5, side=side)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, [(32, 32), (32, 32), (32, 32), (16, 16), (8, 8)]),
        (64, 64, [(64, 64), (32, 32), (32, 32), (16, 16), (8, 8)]),
        (24, 40, [(24, 40), (24, 40), (24, 40), (12, 20), (6, 10)]),
    ],
)
def test_the_maps_of_the_official_code(height, width, expected):
    assert map_sides(narrow(min(height, width)), 3, height, width) == expected


def test_depth_and_widen_factor():
    net = WideResNet(depth=16, widen_factor=3).build(channels=1, classes=7, side=8)
    assert [len(net.get_submodule(f"layer{layer}")) for layer in (1, 2, 3)] == [2, 2, 2]
    assert [net[:depth](torch.zeros(2, 1, 8, 8)).shape[1] for depth in range(1, 5)] == [16, 48, 96, 192]


@pytest.mark.parametrize(("depth", "neighbours"), [(11, "10 or 16"), (27, "22 or 28"), (15, "10 or 16")])
def test_a_depth_that_three_stages_cannot_share_is_refused(depth, neighbours):
    with pytest.raises(ValidationError, match=rf"6n \+ 4, got {depth}; take {neighbours}"):
        WideResNet(depth=depth)
    with pytest.raises(ValidationError):
        WideResNet(depth=4)


def test_golden_block():
    block = WideBlock(1, 1, strides=(1, 2)).eval()
    norm, _, first, second_norm, _, second = block.residual
    for module in (norm, second_norm):
        module.eps = 0.0
    for conv, bias in ((first, -2.0), (second, 0.5)):
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, 0, 1, 1] = 1.0  # hands each pixel on
        nn.init.constant_(conv.bias, bias)
    nn.init.constant_(block.shortcut.weight, 10.0)
    nn.init.constant_(block.shortcut.bias, 100.0)
    hidden = torch.tensor([[[[-1.0, 9, 3, 9], [9, 9, 9, 9], [1, 9, 5, 9], [9, 9, 9, 9]]]])
    # Every other pixel: max(max(x, 0) - 2, 0) + 1/2, plus 10 x + 100 of the raw one.
    assert block(hidden)[0, 0].tolist() == [[90.5, 131.5], [110.5, 153.5]]


def test_a_block_that_keeps_the_shape_adds_its_raw_input():
    block, hidden = WideBlock(4, 4, strides=(1, 1)).eval(), torch.randn(2, 4, 6, 6)
    nn.init.zeros_(block.residual[-1].weight)
    nn.init.zeros_(block.residual[-1].bias)
    assert torch.equal(block(hidden), hidden)


@pytest.mark.parametrize(("options", "between"), [({}, 16), ({"strided_conv": "first"}, 8)])
def test_which_convolution_halves_the_map(options, between):
    net, images = narrow(**options), torch.randn(2, 3, 16, 16)
    first, hidden = net.layer2[0], net[:2](images)
    assert first.residual[:3](hidden).shape[-1] == between
    assert first(hidden).shape[-1] == 8


@pytest.mark.parametrize(("options", "momentum"), [({}, 0.9), ({"last_bn_momentum": 0.1}, 0.1)])
def test_momentum_of_the_last_bn(options, momentum):
    net = narrow(**options)
    hidden = net[:4](torch.randn(8, 3, 16, 16))
    net.head(hidden)
    torch.testing.assert_close(net.head[0].running_mean, momentum * hidden.mean((0, 2, 3)))
    blocks = [module for module in net[:4].modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module.momentum for module in blocks] == [0.1] * 6


def test_the_last_bn_and_relu_belong_to_the_head():
    net, images = narrow().eval(), torch.randn(4, 3, 16, 16)
    hidden = net[:4](images)
    assert hidden.min() < 0
    features = torch.relu(net.head[0](hidden)).mean((2, 3))
    torch.testing.assert_close(net(images), features @ net.head[-1].weight.T + net.head[-1].bias)
