"""AugMix (Hendrycks et al., ICLR 2020): blend chains of image operations, and ask for one answer to all versions."""

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.regularizers.base import Paper, Regularizer, Step, hp
from tuner.regularizers.image_operations import (
    autocontrast,
    equalize,
    posterize,
    rotate,
    shear_x,
    shear_y,
    solarize,
    translate_x,
    translate_y,
)

DEEPEST = 3  # operations in a chain of random depth, at most


def augmix(images: Tensor, chains: Tensor, weights: Tensor, m: Tensor) -> Tensor:
    """`(1 - m) * image + m * sum_i weights_i * chain_i` (algorithm 1), for images (N,C,H,W) and chains (width,N,C,H,W).

    `weights` (width,N,1,1,1) sum to 1 over the chains; `m` (N,1,1,1) is the share of the chains.
    """
    return torch.lerp(images, (weights * chains).sum(0), m)


def jensen_shannon(logits: Tensor) -> Tensor:
    """The mean over samples of the divergence among V versions' softmaxes, logits (V,N,K), in nats (section 3).

    float32 from logarithms: the official code's probabilities have no gradient where one of them is rounded to 0. Its
    clamp of the mixture is kept.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_p = F.log_softmax(logits.float(), dim=2)
        log_mixture = log_p.exp().mean(0).clamp(1e-7, 1).log()
        return (log_p.exp() * (log_p - log_mixture)).sum(2).mean()


def whole(level: Tensor, most: float) -> Tensor:
    """A level of 0..10 as a whole number of 0..most, cut towards 0 (int_parameter of the official code)."""
    return (level * most / 10).trunc()


OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda pixels, level: autocontrast(pixels),
    lambda pixels, level: equalize(pixels),
    lambda pixels, level: posterize(pixels, 4 - whole(level.abs(), 4)),
    lambda pixels, level: solarize(pixels, 256 - whole(level.abs(), 256)),
    lambda pixels, level: rotate(pixels, whole(level, 30)),
    lambda pixels, level: shear_x(pixels, level * 0.3 / 10),
    lambda pixels, level: shear_y(pixels, level * 0.3 / 10),
    lambda pixels, level: translate_x(pixels, whole(level, pixels.shape[3] / 3)),
    lambda pixels, level: translate_y(pixels, whole(level, pixels.shape[2] / 3)),
)
"""What chains are made of, (pixels, level) -> pixels; no corruption of ImageNet-C is there. Signs are directions."""


class Chains(NamedTuple):
    """What is done to each image in each of its chains, on the CPU: `operations` in turn, at their `levels`.

    Operations int64 (depth,width,N) count from 1, 0 is none; levels float32 of the same shape.
    """

    operations: Tensor
    levels: Tensor


def draw_chains(width: int, depth: int, count: int, severity: int, generator: torch.Generator) -> Chains:
    """`width` chains for each of `count` images: of `depth` operations, or of 1 to 3 where depth is -1.

    Magnitudes are uniform from 0.1 to the severity, and every direction has its opposite (sample_level and the
    operations of the official code).
    """
    shape = (DEEPEST if depth < 0 else depth, width, count)
    operations = torch.randint(1, len(OPERATIONS) + 1, shape, generator=generator)
    if depth < 0:
        depths = torch.randint(1, DEEPEST + 1, shape[1:], generator=generator)
        operations[torch.arange(DEEPEST).view(-1, 1, 1) >= depths] = 0
    magnitudes = torch.empty(shape).uniform_(0.1, severity, generator=generator)
    signs = 1 - 2 * torch.randint(2, shape, generator=generator)
    return Chains(operations, signs * magnitudes)


def run_chains(pixels: Tensor, chains: Chains) -> Tensor:
    """Pixels (N,C,H,W), whole numbers 0..255, after each of their chains: (width,N,C,H,W)."""
    _, width, count = chains.operations.shape
    operations, levels = chains.operations.flatten(1), chains.levels.flatten(1)
    # Images with the same operation go through it as one; sorted on the host, they are found without asking the device.
    order = operations.argsort(dim=1)
    sizes = [step.bincount(minlength=len(OPERATIONS) + 1).tolist() for step in operations]
    levels, order = (host.to(pixels.device, non_blocking=True) for host in (levels.gather(1, order), order))
    versions = pixels.repeat(width, 1, 1, 1)
    for step, step_sizes in enumerate(sizes):
        _, *groups = zip(order[step].split(step_sizes), levels[step].split(step_sizes), strict=True)
        for operation, (members, level) in zip(OPERATIONS, groups, strict=True):
            if len(members):
                versions.index_copy_(0, members, operation(versions.index_select(0, members), level))
    return versions.unflatten(0, (width, count))


@final
class AugMix(Regularizer):
    """Trains on clean images, and on agreement between them and two augmented versions of each."""

    name: ClassVar[str] = "augmix"
    paper: ClassVar[Paper] = Paper(
        title="AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
        authors="Hendrycks et al.",
        venue="ICLR 2020",
        url="https://arxiv.org/abs/1912.02781",
    )

    severity: int = hp(
        3,
        "greatest level of the operations, of 10; at 10 images turn by up to 30 degrees and move by a third",
        source="google-research/augmix, cifar.py: --aug-severity 3",
        ge=1,
        le=10,
    )
    mixture_width: int = hp(
        3,
        "chains that are blended into one augmented version",
        source="google-research/augmix, cifar.py: --mixture-width 3",
        ge=1,
        le=5,
    )
    mixture_depth: Literal[-1, 1, 2, 3, 4] = hp(
        -1,
        "operations in a chain; -1 draws 1, 2 or 3 for each chain",
        source="google-research/augmix, cifar.py: --mixture-depth -1",
    )
    jsd_weight: float = hp(
        12.0,
        "weight of the Jensen-Shannon divergence among the three versions; at 0 the augmented ones only enter the "
        "statistics of batch normalisation",
        source="google-research/augmix, cifar.py: 12",
        ge=0,
        le=20,
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        # One pass over the three versions, as in the official code: they share the statistics that normalise them.
        logits = net(torch.cat([images, self.augmented(images.repeat(2, 1, 1, 1), step)])).unflatten(0, (3, -1))
        # The divergence compares distributions with each other: it is the same beside any criterion. Beside bce, which
        # is about 2/K of cross-entropy, the same jsd_weight weighs about K/2 as much.
        return step.criterion(logits[0], targets) + self.jsd_weight * jensen_shannon(logits)

    def augmented(self, images: Tensor, step: Step) -> Tensor:
        """Another version of each of the normalised images (N,C,H,W), drawn for each by itself.

        The operations see pixels rounded to 8 bits; the share of the image itself is not rounded. Chains are blended
        after they are normalised again, as in the official code.
        """
        count, generator = len(images), step.generator
        chains = draw_chains(self.mixture_width, self.mixture_depth, count, self.severity, generator)
        concentration = torch.ones(count, self.mixture_width, dtype=torch.float64)
        weights = torch._sample_dirichlet(concentration, generator).T.reshape(-1, count, 1, 1, 1)
        m = torch.rand(count, 1, 1, 1, generator=generator)  # Beta(1, 1)
        mean, std = (torch.tensor(channels).view(-1, 1, 1) for channels in (step.mean, step.std))
        weights, m, mean, std = (host.to(images, non_blocking=True) for host in (weights, m, mean, std))
        pixels = (255 * (images * std + mean)).round().clamp(0, 255)
        return augmix(images, (run_chains(pixels, chains) / 255 - mean) / std, weights, m)
