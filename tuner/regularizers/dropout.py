"""Dropout (Srivastava et al., JMLR 2014) and spatial dropout (Tompson et al., CVPR 2015) of the feature maps."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step, hp
from tuner.regularizers.depths import HiddenLayers, alter_at, hidden_layers_hp, too_deep
from tuner.regularizers.draws import uniform_field


def dropout(hidden: Tensor, kept: Tensor, drop_rate: float) -> Tensor:
    """Hidden maps (N,C,H,W), 0 where `kept` is False and divided by 1 - drop_rate elsewhere.

    `kept` is bool (N,C,H,W), or (N,C,1,1) for whole channels. The papers scale the weights down after training; like
    everybody since, we scale up during training, so that evaluation needs no change.
    """
    return hidden * (kept / (1 - drop_rate)).to(hidden.dtype)


class DropFeatures(Regularizer):
    """What both forms share: the depths, and the loss with the targets as they are."""

    drop_rate: float
    layers: HiddenLayers = hidden_layers_hp(
        (2, 3, 4),
        "to drop at, all of them in every batch",
        source="ours: after stages 1, 2 and 3; the papers' places lie inside of dense layers, blocks and other nets",
    )

    @abstractmethod
    def unit(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """The shape of the mask for maps of shape (N,C,H,W), 1 where features share one draw."""

    @final
    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        def drop(hidden: Tensor) -> Tensor:
            field = uniform_field(self.unit(tuple(hidden.shape)), step.generator, hidden.device)
            return dropout(hidden, field >= self.drop_rate, self.drop_rate)

        return step.criterion(alter_at(self.layers, drop, net, images), targets)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return too_deep(self.layers, sides)


@final
class Dropout(DropFeatures):
    """Drops each feature by itself."""

    name: ClassVar[str] = "dropout"
    paper: ClassVar[Paper] = Paper(
        title="Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
        authors="Srivastava et al.",
        venue="JMLR 2014",
        url="https://jmlr.org/papers/v15/srivastava14a.html",
    )

    drop_rate: float = hp(
        0.3,
        "probability that a feature is dropped",
        source="wide residual nets (Zagoruyko and Komodakis 2016) on CIFAR: 0.3; the paper's 0.5 is for dense layers",
        ge=0,
        lt=1,
    )

    def unit(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        return shape


@final
class SpatialDropout(DropFeatures):
    """Drops whole channels: neighbours in a map know so much of each other that to drop one alone hides little."""

    name: ClassVar[str] = "spatial_dropout"
    paper: ClassVar[Paper] = Paper(
        title="Efficient Object Localization Using Convolutional Networks",
        authors="Tompson et al.",
        venue="CVPR 2015",
        url="https://arxiv.org/abs/1411.4280",
    )

    drop_rate: float = hp(
        0.1,
        "probability that a channel of a sample is dropped",
        source="ours: below dropout's 0.3, since every draw costs a whole channel; none is published for these nets",
        ge=0,
        lt=1,
    )

    def unit(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        samples, channels, _, _ = shape
        return samples, channels, 1, 1
