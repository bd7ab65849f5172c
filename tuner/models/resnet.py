"""Residual nets of bottleneck blocks (He et al., CVPR 2016), in the form of torchvision, untrained."""

from collections import OrderedDict
from typing import ClassVar, Literal, NamedTuple, final

from pydantic import Field
from torch import nn

from tuner.models.base import Architecture, Blocks, stem_stride
from tuner.paper import Paper


class Stem(NamedTuple):
    """The first convolution, and whether a 3x3 max-pooling of stride 2 follows it."""

    kernel: int
    stride: int
    max_pool: bool


IMAGENET_STEM = Stem(kernel=7, stride=2, max_pool=True)


def resnet(channels: int, classes: int, width: int, blocks: tuple[int, ...], stem: Stem) -> nn.Sequential:
    """Images (N,C,H,W) to logits (N,K): stem with BN and ReLU, four stages of bottleneck blocks, head.

    Blocks and initialisation are torchvision's; the official CutMix code initialises from the same distribution. No
    paper says where to mix hidden maps here. Our cuts: the max-pooling belongs to layer1, so depth 1 is before it.
    """
    # Importing torchvision takes 2 s: who trains another net shall not wait for it.
    from torchvision.models.resnet import Bottleneck

    conv = nn.Conv2d(channels, width, stem.kernel, stem.stride, padding=stem.kernel // 2, bias=False)
    stages = OrderedDict(stem=nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
    channels_in = width
    for layer, count in enumerate(blocks, start=1):
        planes, stride = width * 2 ** (layer - 1), 1 if layer == 1 else 2
        channels_out = planes * Bottleneck.expansion
        shortcut = [nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)]
        first = Bottleneck(channels_in, planes, stride, downsample=nn.Sequential(*shortcut))
        others = [Bottleneck(channels_out, planes) for _ in range(count - 1)]
        stages[f"layer{layer}"] = nn.Sequential(first, *others)
        channels_in = channels_out
    if stem.max_pool:
        stages["layer1"].insert(0, nn.MaxPool2d(3, stride=2, padding=1))
    stages["head"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels_in, classes))
    net = nn.Sequential(stages)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class ResNet(Architecture):
    """What the three sizes share."""

    paper: ClassVar[Paper] = Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="He et al.",
        venue="CVPR 2016",
        url="https://arxiv.org/abs/1512.03385",
    )

    width: int = Field(64, ge=1, description="channels of the stem; the stages have 4, 8, 16 and 32 times as many")
    blocks: Blocks
    stem: Literal["auto", "imagenet", "small"] = Field(
        "auto",
        description="imagenet: 7x7 of stride 2 and max-pooling; small: 3x3, of stride 2 from 64 pixels on; "
        "auto: imagenet from 128 pixels on",
    )

    def build(self, channels: int, classes: int, side: int) -> nn.Sequential:
        # PatchUp trains ResNet101/152 on Tiny-ImageNet and does not say with which stem: the small one is our choice.
        imagenet = self.stem == "imagenet" or (self.stem == "auto" and side >= 128)
        stem = IMAGENET_STEM if imagenet else Stem(kernel=3, stride=stem_stride(side), max_pool=False)
        return resnet(channels, classes, self.width, self.blocks, stem)


@final
class ResNet50(ResNet):
    """Bottleneck blocks, 50 layers: 25.6 million parameters at width 64 and 1000 classes."""

    name: Literal["resnet50"] = "resnet50"
    blocks: Blocks = (3, 4, 6, 3)


@final
class ResNet101(ResNet):
    """Bottleneck blocks, 101 layers: 44.5 million parameters at width 64 and 1000 classes."""

    name: Literal["resnet101"] = "resnet101"
    blocks: Blocks = (3, 4, 23, 3)


@final
class ResNet152(ResNet):
    """Bottleneck blocks, 152 layers: 60.2 million parameters at width 64 and 1000 classes."""

    name: Literal["resnet152"] = "resnet152"
    blocks: Blocks = (3, 8, 36, 3)
