"""What a model is: frozen settings that build a net."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from tuner.paper import Paper

Count = Annotated[int, Field(ge=1)]
Blocks = Annotated[
    tuple[Count, Count, Count, Count],
    Field(strict=False, description="residual blocks in each of the four stages"),
]


class Architecture(BaseModel, ABC):
    """Settings that build a net as a plain `nn.Sequential` of stages. Subclasses are either abstract or final.

    Regularizers count the maps between the stages: 0 is the input, 1 after the stem, 2 after layer1, ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    name: str
    paper: ClassVar[Paper]

    @abstractmethod
    def build(self, channels: int, classes: int, side: int) -> nn.Sequential:
        """A net from images (N,channels,H,W) to logits (N,classes), where `side` is the shorter of H and W.

        It fixes no size: `side` only says what the stem is for. Weights come from torch's global generator.
        """

    @final
    def parameter_count(self, channels: int, classes: int, side: int) -> int:
        """How many numbers such a net learns."""
        with torch.device("meta"):  # no memory, no initialisation
            net = self.build(channels, classes, side)
        return sum(parameter.numel() for parameter in net.parameters())


def stem_stride(side: int) -> int:
    """The stride of a 3x3 stem: 2 from 64 pixels on, so that the stages see the maps that they see at 32.

    So the codes of Manifold Mixup, Puzzle Mix and PatchUp treat Tiny-ImageNet.
    """
    return 2 if side >= 64 else 1
