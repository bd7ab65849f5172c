"""CutMix (Yun et al., ICCV 2019): paste a rectangle of one image into another, and share the label by area."""

from typing import ClassVar, final

from torch import Tensor

from tuner.regularizers.base import InputMix, Paper, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation, uniform
from tuner.regularizers.rectangle import Rectangle, draw_rectangle, swap_rectangle


def cutmix(images: Tensor, targets: Tensor, perm: Tensor, box: Rectangle) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) with the partner's box, and targets (N,K) mixed by the share of pixels that stayed (eq. 1).

    The share is that of the box as clipped, as in the authors' code; the paper's eq. 1 uses the lam that was drawn.
    """
    mixed, lam = swap_rectangle(images, perm, box)
    return mixed, interpolate(targets, perm, lam)


@final
class CutMix(InputMix):
    """Swaps one rectangle, the same for the whole batch, with that of a partner; some batches stay clean."""

    name: ClassVar[str] = "cutmix"
    paper: ClassVar[Paper] = Paper(
        title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
        authors="Yun et al.",
        venue="ICCV 2019",
        url="https://arxiv.org/abs/1905.04899",
    )

    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the image that stays before clipping, no unit",
        source="section 3.1: alpha = 1, that is lam uniform",
        ge=SMALLEST_ALPHA,
    )
    cutmix_prob: float = hp(
        0.5,
        "probability that a batch is mixed",
        source="clovaai/CutMix-PyTorch, README: --cutmix_prob 0.5 on CIFAR (1.0 on ImageNet)",
        ge=0,
        le=1,
    )

    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        if uniform(step.generator) >= self.cutmix_prob:
            return images, targets
        perm = permutation(len(images), step.generator, images.device)
        box = draw_rectangle(beta(self.alpha, step.generator), *images.shape[-2:], step.generator)
        return cutmix(images, targets, perm, box)
