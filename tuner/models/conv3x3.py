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
    several times its arithmetic (`LOG.md`, 2026-11-21). Tiny maps come out with channels last in memory: batch norm
    works along a row of them, which is 64 channels or 4 pixels.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__(channels_in, channels_out, 3, stride, padding=1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        height, width = hidden.shape[-2:]
        rows, columns = (-(-side // self.stride[0]) for side in (height, width))
        if max(height, width) > SMALL_SIDE:
            mapped = super().forward(hidden)
            tiny = max(rows, columns) <= SMALL_SIDE
            return mapped.contiguous(memory_format=torch.channels_last) if tiny else mapped
        if max(height, width) == 1:  # all around the one pixel is padding, which leaves the tap in the middle
            return F.linear(hidden.flatten(1), self.weight.flatten(2).select(2, 4).contiguous())[..., None, None]
        # One weight for each pair of a feature that comes out and one that goes in: (out * C', in * C).
        taps = taps_between(height, width, self.stride[0], hidden.device)
        dense = self.weight.flatten(2).permute(2, 0, 1).index_select(0, taps)  # whole (C', C) planes are copied
        dense = dense.unflatten(0, (rows * columns, height * width)).transpose(1, 2)
        dense = dense.reshape(rows * columns * self.out_channels, height * width * self.in_channels)
        pixels = hidden.permute(0, 2, 3, 1).flatten(1)
        return F.linear(pixels, dense).unflatten(1, (rows, columns, self.out_channels)).permute(0, 3, 1, 2)


@cache
@torch.inference_mode(False)  # the first to ask may be an evaluation, and what it makes is kept for training
def taps_between(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Which of the nine taps leads from each pixel that goes in to each that comes out: (out * in) of 0 to 8.

    The map must be so small that one does between any two pixels.
    """
    inside = torch.eye(height * width, device=device).view(1, height * width, height, width)
    windows = F.unfold(inside.transpose(0, 1), 3, padding=1, stride=stride)  # (in, 9, out)
    return windows.permute(2, 0, 1).argmax(2).flatten()
