import pytest
import torch
from torch.nn import functional as F

from tuner.models.conv1x1 import SMALL_SIDE, Conv1x1


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 2), (8, 8), (10, 10)])
def test_map_and_gradients_are_those_of_torchs_convolution(height, width, stride, memory_format):
    conv = Conv1x1(3, 5, stride).double().to(memory_format=memory_format)
    hidden = torch.randn(4, 3, height, width, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    ours, theirs = conv(hidden), F.conv2d(hidden, conv.weight, stride=stride)
    torch.testing.assert_close(ours, theirs)
    weigh = torch.randn_like(theirs)
    for gradient, reference in zip(
        torch.autograd.grad((ours * weigh).sum(), (hidden, conv.weight)),
        torch.autograd.grad((theirs * weigh).sum(), (hidden, conv.weight)),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference)


def test_small_maps_meet_no_convolution_and_larger_ones_do(monkeypatch):
    conv = Conv1x1(3, 5)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda *_: "a convolution")
    assert conv(torch.randn(2, 3, SMALL_SIDE, SMALL_SIDE)).shape == (2, 5, SMALL_SIDE, SMALL_SIDE)
    assert conv(torch.randn(2, 3, SMALL_SIDE + 1, 1)) == "a convolution"
