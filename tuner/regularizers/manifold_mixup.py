"""Manifold Mixup (Verma et al., ICML 2019): mixup of the hidden maps at a random depth."""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.depths import Layers, PublishedLayers, draw_depth, layers_hp, too_deep
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation


def manifold_mixup(hidden: Tensor, targets: Tensor, perm: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Hidden maps (N,C,H,W) and targets (N,K), both `lam * own + (1 - lam) * partner` (section 2, steps 3 and 4)."""
    return interpolate(hidden, perm, lam), interpolate(targets, perm, lam)


@final
class ManifoldMixup(Regularizer):
    """Blends the maps and the targets of every batch, at a depth drawn anew for each."""

    name: ClassVar[str] = "manifold_mixup"
    paper: ClassVar[Paper] = Paper(
        title="Manifold Mixup: Better Representations by Interpolating Hidden States",
        authors="Verma et al.",
        venue="ICML 2019",
        url="https://arxiv.org/abs/1806.05236",
    )

    alpha: float = hp(
        2.0,
        "shape of lam ~ Beta(alpha, alpha), no unit; towards 0 the pairs stay unmixed, 1 is uniform",
        source="vikasverma1077/manifold_mixup, supervised/README: --mixup_alpha 2.0 (CIFAR)",
        ge=SMALLEST_ALPHA,
    )
    layers: Layers = layers_hp(
        PublishedLayers.MANIFOLD_MIXUP.value,
        "to draw from for each batch",
        source="vikasverma1077/manifold_mixup, models/*.py: random.randint(0, 2) (PatchUp's baseline: 0, 1, 2)",
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        depth = draw_depth(self.layers, step.generator)
        lam = beta(self.alpha, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        mixed, mixed_targets = manifold_mixup(net[:depth](images), targets, perm, lam)
        return step.criterion(net[depth:](mixed), mixed_targets)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return too_deep(self.layers, sides)
