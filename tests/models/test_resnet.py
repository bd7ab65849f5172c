"""ResNet-50/101/152: torchvision's nets weight by weight, and the two stems."""

import pytest
import torch
import torchvision
from torchvision.models.resnet import Bottleneck

from tuner.models import ResNet50, ResNet101, ResNet152, map_sides


@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (2, 1, 1, 1)])
def test_on_imagenet_it_is_torchvisions_net_weight_by_weight(blocks):
    torch.manual_seed(0)
    theirs = torchvision.models.ResNet(Bottleneck, list(blocks))
    torch.manual_seed(0)
    ours = ResNet50(blocks=blocks).build(channels=3, classes=1000, side=224)
    pairs = list(zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert all(torch.equal(own, other) for own, other in pairs)  # drawn alike from one seed
    images = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(images), theirs.train(mode)(images))


@pytest.mark.parametrize(
    ("model", "theirs"),
    [
        (ResNet50, torchvision.models.resnet50),
        (ResNet101, torchvision.models.resnet101),
        (ResNet152, torchvision.models.resnet152),
    ],
)
def test_the_blocks_of_torchvisions_sizes(model, theirs):
    with torch.device("meta"):
        own, other = model().build(channels=3, classes=1000, side=224), theirs()
    shapes = [[tuple(value.shape) for value in net.state_dict().values()] for net in (own, other)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("side", "options", "expected"),
    [
        (32, {}, [32, 32, 32, 16, 8, 4]),
        (64, {}, [64, 32, 32, 16, 8, 4]),
        (96, {}, [96, 48, 48, 24, 12, 6]),
        (128, {}, [128, 64, 32, 16, 8, 4]),
        (224, {}, [224, 112, 56, 28, 14, 7]),
        (64, {"stem": "imagenet"}, [64, 32, 16, 8, 4, 2]),
        (224, {"stem": "small"}, [224, 112, 112, 56, 28, 14]),
    ],
)
def test_maps_of_both_stems(side, options, expected):
    net = ResNet50(width=2, blocks=(1, 1, 1, 1), **options).build(channels=3, classes=5, side=side)
    assert map_sides(net, 3, side, side) == [(side, side) for side in expected]


def test_the_stems_differ_in_kernel_and_pooling():
    small = ResNet50(width=2, blocks=(1, 1, 1, 1)).build(channels=1, classes=5, side=64)
    large = ResNet50(width=2, blocks=(1, 1, 1, 1)).build(channels=1, classes=5, side=224)
    assert [net.stem[0].kernel_size for net in (small, large)] == [(3, 3), (7, 7)]
    images = torch.randn(2, 1, 64, 64)
    for net in (small.eval(), large.eval()):
        assert net[:1](images).shape == (2, 2, 32, 32)
        assert net[:1](images).min() == 0  # after the ReLU
    assert [net[1:2](net[:1](images)).shape[-1] for net in (small, large)] == [32, 16]


def test_width_is_the_stems_and_channels_grow_fourfold():
    net = ResNet50(width=8, blocks=(1, 1, 1, 1)).build(channels=1, classes=7, side=32)
    assert [net[:depth](torch.zeros(2, 1, 32, 32)).shape[1] for depth in range(1, 6)] == [8, 32, 64, 128, 256]
