"""Wide residual nets (Zagoruyko and Komodakis, BMVC 2016), in the form that PatchUp's official code trains."""

import math
from collections import OrderedDict
from typing import Annotated, ClassVar, Literal, final

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from tuner.models.base import Architecture, stem_stride
from tuner.paper import Paper

STEM_CHANNELS = 16


@final
class WideBlock(nn.Module):
    """BN-ReLU-conv twice, plus a shortcut: (N,C,H,W) to (N,C',H/s,W/s), where s is the product of the two strides.

    Where the shape changes, the shortcut is a 1x1 convolution of the raw input, in the authors' code of the activated
    one. All convolutions have a bias, theirs have none.
    """

    def __init__(self, channels_in: int, channels_out: int, strides: tuple[int, int]):
        super().__init__()
        first, second = strides
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_out, 3, first, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, second, padding=1),
        )
        self.shortcut = None
        if math.prod(strides) != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, math.prod(strides))

    def forward(self, hidden: Tensor) -> Tensor:
        shortcut = hidden if self.shortcut is None else self.shortcut(hidden)
        return self.residual(hidden) + shortcut


def wide_resnet(
    channels: int,
    classes: int,
    depth: int,
    widen_factor: int,
    stem_stride: int,
    strides: tuple[int, int],
    last_bn_momentum: float,
) -> nn.Sequential:
    """Images (N,C,H,W) to logits (N,K): stem, three stages of (depth - 4) / 6 blocks, head. PyTorch's default
    initialisation, as PatchUp's code: it defines another one and never applies it.

    `strides` are those of the two convolutions in the block that halves the map. The last BN-ReLU belongs to the head:
    the deepest map is the last stage's raw sum. The pooling adapts, where PatchUp's asks for an 8x8 map.
    """
    stages = OrderedDict(stem=nn.Conv2d(channels, STEM_CHANNELS, 3, stem_stride, padding=1))
    channels_in = STEM_CHANNELS
    for layer in (1, 2, 3):
        channels_out = STEM_CHANNELS * widen_factor * 2 ** (layer - 1)
        first = WideBlock(channels_in, channels_out, (1, 1) if layer == 1 else strides)
        others = [WideBlock(channels_out, channels_out, (1, 1)) for _ in range((depth - 4) // 6 - 1)]
        stages[f"layer{layer}"] = nn.Sequential(first, *others)
        channels_in = channels_out
    stages["head"] = nn.Sequential(
        nn.BatchNorm2d(channels_in, momentum=last_bn_momentum),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels_in, classes),
    )
    return nn.Sequential(stages)


def three_equal_stages(depth: int) -> int:
    if depth % 6 != 4:
        lower = max(depth - (depth - 4) % 6, 10)
        raise ValueError(f"three stages of n blocks make a depth of 6n + 4, got {depth}; take {lower} or {lower + 6}")
    return depth


@final
class WideResNet(Architecture):
    """Few and wide pre-activation blocks, 28 layers: 36.5 million parameters with widen_factor 10."""

    name: Literal["wrn28_10"] = "wrn28_10"
    paper: ClassVar[Paper] = Paper(
        title="Wide Residual Networks",
        authors="Zagoruyko and Komodakis",
        venue="BMVC 2016",
        url="https://arxiv.org/abs/1605.07146",
    )

    depth: Annotated[int, AfterValidator(three_equal_stages)] = Field(
        28, ge=10, description="layers, 6n + 4 for n blocks in each of the three stages"
    )
    widen_factor: int = Field(10, ge=1, description="the stages have 16, 32 and 64 times as many channels")
    strided_conv: Literal["first", "second"] = Field(
        "second",
        description="the convolution of a block that halves the map: second in PatchUp's code, first in the authors'",
    )
    last_bn_momentum: float = Field(
        0.9,
        gt=0,
        le=1,
        description="share of the newest batch in the last BN's statistics: 0.9 in PatchUp's code, usually 0.1",
    )

    def build(self, channels: int, classes: int, side: int) -> nn.Sequential:
        return wide_resnet(
            channels,
            classes,
            self.depth,
            self.widen_factor,
            stem_stride(side),
            strides=(2, 1) if self.strided_conv == "first" else (1, 2),
            last_bn_momentum=self.last_bn_momentum,
        )
