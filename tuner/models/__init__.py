"""Nets as plain `nn.Sequential`s of stages, so that `net[:k]` and `net[k:]` cut them at any depth."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from tuner.models.preact_resnet import PreActResNet18, PreActResNet34

Model = Annotated[PreActResNet18 | PreActResNet34, Field(discriminator="name")]


@torch.inference_mode()
def map_sides(net: nn.Sequential, channels: int, height: int, width: int) -> list[tuple[int, int]]:
    """The (height, width) of the map at each depth: the input's at 0, then each stage's that ends in a map."""
    # One real image: loading what torch needs to walk on its meta device takes seconds, this hundredths.
    hidden = torch.zeros(1, channels, height, width, device=next(net.parameters()).device)
    sides, was_training = [(height, width)], net.training
    net.eval()
    for stage in net:
        hidden = stage(hidden)
        if hidden.ndim == 4:
            sides.append(tuple(hidden.shape[-2:]))
    net.train(was_training)
    return sides
