"""Pre-activation residual nets (He et al., ECCV 2016), in the form that the mixing papers' codes train."""

from collections import OrderedDict
from typing import ClassVar, Literal, final

from pydantic import Field
from torch import Tensor, nn

from tuner.models.base import Architecture, Blocks, stem_stride
from tuner.models.conv1x1 import Conv1x1
from tuner.models.conv3x3 import Conv3x3
from tuner.paper import Paper


@final
class PreActBlock(nn.Module):
    """BN-ReLU-conv twice, plus a shortcut: (N,C,H,W) to (N,C',H/stride,W/stride).

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input, without a BN of its own.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU())
        self.residual = nn.Sequential(
            Conv3x3(channels_in, channels_out, stride),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            Conv3x3(channels_out, channels_out),
        )
        self.shortcut = None
        if stride != 1 or channels_in != channels_out:
            self.shortcut = Conv1x1(channels_in, channels_out, stride)

    def forward(self, hidden: Tensor) -> Tensor:
        activated = self.activation(hidden)
        shortcut = hidden if self.shortcut is None else self.shortcut(activated)
        return self.residual(activated) + shortcut


def preact_resnet(channels: int, classes: int, width: int, blocks: tuple[int, ...], stem_stride: int) -> nn.Sequential:
    """Images (N,C,H,W) to logits (N,K): stem, four stages of blocks, head. PyTorch's default initialisation.

    The form shared by the codes of Manifold Mixup, Puzzle Mix and PatchUp: no BN-ReLU after the last stage, unlike the
    paper. The pooling adapts, where theirs asks for a 4x4 map.
    """
    stages = OrderedDict(stem=Conv3x3(channels, width, stem_stride))
    channels_in = width
    for layer, count in enumerate(blocks, start=1):
        channels_out = width * 2 ** (layer - 1)
        first = PreActBlock(channels_in, channels_out, stride=1 if layer == 1 else 2)
        others = [PreActBlock(channels_out, channels_out, stride=1) for _ in range(count - 1)]
        stages[f"layer{layer}"] = nn.Sequential(first, *others)
        channels_in = channels_out
    stages["head"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels_in, classes))
    return nn.Sequential(stages)


class PreActResNet(Architecture):
    """What both sizes share."""

    paper: ClassVar[Paper] = Paper(
        title="Identity Mappings in Deep Residual Networks",
        authors="He et al.",
        venue="ECCV 2016",
        url="https://arxiv.org/abs/1603.05027",
    )

    width: int = Field(64, ge=1, description="channels of the first stage; each later stage doubles them")
    blocks: Blocks

    def build(self, channels: int, classes: int, side: int) -> nn.Sequential:
        return preact_resnet(channels, classes, self.width, self.blocks, stem_stride(side))


@final
class PreActResNet18(PreActResNet):
    """Basic pre-activation blocks, 18 layers: 11.2 million parameters at width 64."""

    name: Literal["preactresnet18"] = "preactresnet18"
    blocks: Blocks = (2, 2, 2, 2)


@final
class PreActResNet34(PreActResNet):
    """Basic pre-activation blocks, 34 layers: 21.3 million parameters at width 64."""

    name: Literal["preactresnet34"] = "preactresnet34"
    blocks: Blocks = (3, 4, 6, 3)
