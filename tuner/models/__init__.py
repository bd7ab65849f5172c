"""Nets as plain `nn.Sequential`s of stages, so that `net[:k]` and `net[k:]` cut them at any depth."""

from typing import Annotated, get_args

import torch
from pydantic import Field
from torch import nn

from tuner.models.base import Architecture
from tuner.models.preact_resnet import PreActResNet18, PreActResNet34
from tuner.models.resnet import ResNet50, ResNet101, ResNet152
from tuner.models.wide_resnet import WideResNet

__all__ = [
    "Architecture",
    "Model",
    "PreActResNet18",
    "PreActResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "WideResNet",
    "architectures",
    "map_sides",
]

Model = Annotated[
    PreActResNet18 | PreActResNet34 | WideResNet | ResNet50 | ResNet101 | ResNet152, Field(discriminator="name")
]


def architectures() -> dict[str, type[Architecture]]:
    """The class of each net by its name, in the order of `Model`."""
    union, _ = get_args(Model)
    return {cls.model_fields["name"].default: cls for cls in get_args(union)}


@torch.inference_mode()
def map_sides(net: nn.Sequential, channels: int, height: int, width: int) -> list[tuple[int, int]]:
    """The (height, width) of the map at each depth: the input's at 0, then each stage's that ends in a map."""
    # One real image: loading what torch needs to walk on its meta device takes seconds, this hundredths at 32 pixels.
    hidden = torch.zeros(1, channels, height, width, device=next(net.parameters()).device)
    sides, was_training = [(height, width)], net.training
    net.eval()
    for stage in net:
        hidden = stage(hidden)
        if hidden.ndim == 4:
            sides.append(tuple(hidden.shape[-2:]))
    net.train(was_training)
    return sides
