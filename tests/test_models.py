"""The nets: sizes of the official code, cuts at every depth, and what sets its residual blocks apart."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from tuner.models import Model, PreActResNet18, PreActResNet34, map_sides
from tuner.models.preact_resnet import PreActBlock


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (PreActResNet18(), {10: 11_171_146, 100: 11_217_316, 200: 11_268_616}),
        (PreActResNet34(), {10: 21_279_306, 100: 21_325_476, 200: 21_376_776}),
    ],
)
def test_as_many_parameters_as_in_the_official_code(model, expected):
    for classes, parameters in expected.items():
        with torch.device("meta"):  # no memory, no initialisation
            net = model.build(channels=3, classes=classes, side=32)
        assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def small_net(side=16):
    return PreActResNet18(width=4, blocks=(1, 2, 1, 1)).build(channels=1, classes=5, side=side)


def test_a_cut_at_any_depth_changes_nothing():
    net, images = small_net().eval(), torch.randn(2, 1, 16, 16)
    assert type(net) is nn.Sequential
    for depth in range(len(net) + 1):
        assert torch.equal(net[depth:](net[:depth](images)), net(images))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, [(32, 32), (32, 32), (32, 32), (16, 16), (8, 8), (4, 4)]),
        (64, 64, [(64, 64), (32, 32), (32, 32), (16, 16), (8, 8), (4, 4)]),
        (8, 8, [(8, 8), (8, 8), (8, 8), (4, 4), (2, 2), (1, 1)]),
        (16, 24, [(16, 24), (16, 24), (16, 24), (8, 12), (4, 6), (2, 3)]),
    ],
)
def test_map_sides_are_those_of_the_real_maps(height, width, expected):
    net = small_net(min(height, width))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert map_sides(net, 1, height, width) == expected
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    maps = [net[:depth](torch.zeros(2, 1, height, width)) for depth in range(6)]
    assert [tuple(hidden.shape[-2:]) for hidden in maps] == expected


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
    assert torch.equal(changing(hidden), nn.functional.conv2d(activated, changing.shortcut.weight, stride=2))


def test_no_activation_after_the_last_stage():
    assert small_net()[:5](torch.randn(4, 1, 16, 16)).min() < 0


def test_settings_are_told_apart_by_name_and_strict():
    read = TypeAdapter(Model).validate_python
    assert read({"name": "preactresnet34", "blocks": [1, 1, 1, 1]}) == PreActResNet34(blocks=(1, 1, 1, 1))
    for wrong in ({"name": "preactresnet50"}, {"width": 64}):
        with pytest.raises(ValidationError, match="union_tag"):
            read(wrong)
    for wrong in ({"width": "64"}, {"width": 0}, {"depth": 18}, {"blocks": [2, 2, 2]}, {"blocks": [2, 2, 2, 0]}):
        with pytest.raises(ValidationError):
            read({"name": "preactresnet18", **wrong})
