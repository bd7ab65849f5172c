"""A 1x1 convolution that on small maps is one matrix product."""

from typing import final

from torch import Tensor, nn

SMALL_SIDE = 8
"""Up to this side a product is faster on a CPU, forwards and backwards (`LOG.md`, 2026-11-21)."""


@final
class Conv1x1(nn.Conv2d):
    """(N,C,H,W) to (N,C',H/stride,W/stride), without a bias: the parameters are those of `nn.Conv2d`."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        if max(hidden.shape[-2:]) > SMALL_SIDE:
            return super().forward(hidden)
        chosen = hidden[..., :: self.stride[0], :: self.stride[1]]
        return (self.weight.flatten(1) @ chosen.flatten(2)).unflatten(2, chosen.shape[2:])
