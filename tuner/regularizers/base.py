"""What a regularizer is: a frozen set of hyper-parameters that turns one batch into one loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tuner.paper import Paper
from tuner.training.criterion import Criterion


@dataclass(frozen=True)
class Step:
    """What a method may know about the training step it is in.

    `generator` lives on the CPU and every draw starts from it; `progress` in [0, 1] is the share of the training done
    before this step; `mean` and `std` are the image statistics per channel, on the [0, 1] scale of the pixels.
    """

    criterion: Criterion
    generator: torch.Generator
    progress: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def hp(default: Any, description: str, *, source: str, **domain: Any) -> Any:
    """A hyper-parameter: default, meaning with its unit, where the default comes from, and the legal range.

    `domain` is what pydantic's `Field` knows: ge, gt, le, lt, min_length, strict. What is searched is another fact with
    another owner: `search_spaces/<method>.yaml`.
    """
    return Field(default, description=description, json_schema_extra={"source": source}, **domain)


class Regularizer(BaseModel, ABC):
    """A training loss. Subclasses are either abstract or final, and hold hyper-parameters only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    name: ClassVar[str]
    paper: ClassVar[Paper | None]

    @final
    def loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        """The float32 scalar to minimise, for normalised float images (N,C,H,W) and float32 targets (N,K).

        A net in eval mode gets its plain loss: nothing is drawn.
        """
        if not net.training:
            return step.criterion(net(images), targets)
        return self.training_loss(net, images, targets, step)

    @abstractmethod
    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        """`loss` for a net in training mode. Must leave `images` and `targets` as they are."""

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        """The (field, sentence) of every hyper-parameter that cannot work on a net with these maps.

        `sides[k]` is the (height, width) of the map at depth k; depth 0 is the input.
        """
        return []


class InputMix(Regularizer):
    """A regularizer that changes images and targets before the net sees them, and nothing else."""

    @abstractmethod
    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """The images (N,C,H,W) and targets (N,K) to train on, as new tensors or the given ones untouched."""

    @final
    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        mixed, mixed_targets = self.mix(images, targets, step)
        return step.criterion(net(mixed), mixed_targets)


def interpolate(values: Tensor, perm: Tensor, lam: float | Tensor) -> Tensor:
    """`lam * values + (1 - lam) * values[perm]`, for images (N,C,H,W), hidden maps or targets (N,K).

    `lam` is the share of the sample's own value: a number, or a tensor that broadcasts and has the values' dtype. At 0
    and at 1 the result is exact.
    """
    return torch.lerp(values.index_select(0, perm), values, lam)
