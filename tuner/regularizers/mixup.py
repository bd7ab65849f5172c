"""Mixup (Zhang et al., ICLR 2018): train on lines between pairs of samples."""

from typing import ClassVar, final

from torch import Tensor

from tuner.regularizers.base import InputMix, Paper, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation


def mixup(images: Tensor, targets: Tensor, perm: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) and targets (N,K), both `lam * own + (1 - lam) * partner` (the two equations of section 1).

    One lam and one permutation (N,) for the batch, as in the authors' code.
    """
    return interpolate(images, perm, lam), interpolate(targets, perm, lam)


@final
class Mixup(InputMix):
    """Blends each image and its target with those of a partner, in every batch."""

    name: ClassVar[str] = "mixup"
    paper: ClassVar[Paper] = Paper(
        title="mixup: Beyond Empirical Risk Minimization",
        authors="Zhang et al.",
        venue="ICLR 2018",
        url="https://arxiv.org/abs/1710.09412",
    )

    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), no unit; towards 0 the pairs stay unmixed, 1 is uniform",
        source="facebookresearch/mixup-cifar10, train.py: --alpha 1 (CIFAR-10)",
        ge=SMALLEST_ALPHA,
    )

    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        return mixup(images, targets, perm, lam)
