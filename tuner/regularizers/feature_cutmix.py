"""Feature CutMix (Yun et al., ICCV 2019, ablation study): CutMix of the hidden maps at a random depth."""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.depths import Layers, draw_depth, layers_hp, too_deep
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation, uniform
from tuner.regularizers.rectangle import Rectangle, draw_rectangle, swap_rectangle


def feature_cutmix(hidden: Tensor, targets: Tensor, perm: Tensor, box: Rectangle) -> tuple[Tensor, Tensor]:
    """Hidden maps (N,C,H,W) with the partner's box, and targets (N,K) mixed by the share of features that stayed.

    The box is in features, the same for all channels and samples, as in the authors' only published lines of it
    (clovaai/CutMix-PyTorch, issue 5). Small maps are coarse: 6 % of the boxes on an 8 x 8 map are empty, and 25 % on a
    4 x 4 map; such a batch stays clean.
    """
    mixed, lam = swap_rectangle(hidden, perm, box)
    return mixed, interpolate(targets, perm, lam)


@final
class FeatureCutMix(Regularizer):
    """Swaps one rectangle of the maps with that of a partner, at a depth drawn for each batch; some stay clean."""

    name: ClassVar[str] = "feature_cutmix"
    paper: ClassVar[Paper] = Paper(
        title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
        authors="Yun et al.",
        venue="ICCV 2019",
        url="https://arxiv.org/abs/1905.04899",
    )

    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the map that stays before clipping, no unit",
        source="section 3.1: alpha = 1; none is published for the feature form",
        ge=SMALLEST_ALPHA,
    )
    cutmix_prob: float = hp(
        0.5,
        "probability that a batch is mixed",
        source="ours: what the authors take for the input form on CIFAR; none is published for the feature form",
        ge=0,
        le=1,
    )
    layers: Layers = layers_hp(
        (1, 2, 3),
        "to draw from for each batch",
        source="ours: section 4.1.1 draws a layer for each batch and does not tell from which",
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        if uniform(step.generator) >= self.cutmix_prob:
            return step.criterion(net(images), targets)
        depth = draw_depth(self.layers, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        hidden = net[:depth](images)
        box = draw_rectangle(beta(self.alpha, step.generator), *hidden.shape[-2:], step.generator)
        mixed, mixed_targets = feature_cutmix(hidden, targets, perm, box)
        return step.criterion(net[depth:](mixed), mixed_targets)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return too_deep(self.layers, sides)
