"""Convolutions that on small maps are matrix products."""

import pytest
import torch
from torch.nn import functional as F

from tuner.models import conv1x1, conv3x3
from tuner.models.conv1x1 import Conv1x1
from tuner.models.conv3x3 import Conv3x3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 2), (3, 2), (4, 4), (8, 8), (10, 10)])
@pytest.mark.parametrize("convolution", [Conv1x1, Conv3x3])
def test_map_and_gradients_are_those_of_torchs_convolution(convolution, height, width, stride, memory_format):
    conv = convolution(3, 5, stride).double().to(memory_format=memory_format)
    hidden = torch.randn(4, 3, height, width, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    ours, theirs = conv(hidden), F.conv2d(hidden, conv.weight, stride=stride, padding=conv.padding)
    torch.testing.assert_close(ours, theirs)
    weigh = torch.randn_like(theirs)
    for gradient, reference in zip(
        torch.autograd.grad((ours * weigh).sum(), (hidden, conv.weight)),
        torch.autograd.grad((theirs * weigh).sum(), (hidden, conv.weight)),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(
    ("convolution", "side"), [(Conv1x1, conv1x1.SMALL_SIDE), (Conv3x3, conv3x3.SMALL_SIDE)], ids=["1x1", "3x3"]
)
def test_small_maps_meet_no_convolution_and_larger_ones_do(convolution, side, monkeypatch):
    conv = convolution(3, 5)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda *_: "a convolution")
    assert conv(torch.randn(2, 3, side, side)).shape == (2, 5, side, side)
    assert conv(torch.randn(2, 3, side + 1, 1)) == "a convolution"
