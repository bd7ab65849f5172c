"""A 3x3 convolution that on tiny maps is one matrix product."""

from functools import cache
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL_SIDE = 2
"""Up to this side a product is faster, forwards and backwards: on a 2x2 map every pixel sees every other one anyway."""


@final
class Conv3x3(nn.Conv2d):
    """(N,C,H,W) to (N,C',H/stride,W/stride), padded by 1, without a bias: the parameters are those of `nn.Conv2d`.

    Nets for 32 pixels end in maps of 2x2 and 1x1 when their images have 8, and there a convolution's overhead costs
    several times its arithmetic (`LOG.md`, 2026-11-21).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__(channels_in, channels_out, 3, stride, padding=1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        height, width = hidden.shape[-2:]
        if max(height, width) > SMALL_SIDE:
            return super().forward(hidden)
        if max(height, width) == 1:  # all around the one pixel is padding, which leaves the tap in the middle
            return F.linear(hidden.flatten(1), self.weight.flatten(2).select(2, 4))[..., None, None]
        taps = taps_between(height, width, self.stride[0]).to(self.weight)
        rows, columns = (-(-side // self.stride[0]) for side in (height, width))
        # One weight for each pair of a feature that comes out and one that goes in: (C', out * in, C), which is the
        # order in which nothing larger than the map has to be copied before the product.
        dense = taps @ self.weight.flatten(2).transpose(1, 2)
        dense = dense.reshape(self.out_channels * rows * columns, height * width * self.in_channels)
        pixels = hidden.flatten(2).transpose(1, 2).flatten(1)
        return F.linear(pixels, dense).unflatten(1, (self.out_channels, rows, columns))


@cache
@torch.inference_mode(False)  # the first to ask may be an evaluation, and what it makes is kept for training
def taps_between(height: int, width: int, stride: int) -> Tensor:
    """Which of the nine taps leads from each pixel that goes in to each that comes out: 0 or 1, (out * in, 9)."""
    inside = torch.eye(height * width).view(1, height * width, height, width)
    windows = F.unfold(inside.transpose(0, 1), 3, padding=1, stride=stride)  # (in, 9, out)
    return windows.permute(2, 0, 1).flatten(0, 1)
