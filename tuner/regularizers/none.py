"""No regularizer: the baseline that every method has to beat."""

from typing import ClassVar, final

from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step


@final
class NoRegularizer(Regularizer):
    """The plain loss on the plain batch. Nothing to draw, nothing to tune, nobody to cite."""

    name: ClassVar[str] = "none"
    paper: ClassVar[Paper | None] = None

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        return step.criterion(net(images), targets)
