"""Puzzle Mix (Kim, Choo and Song, ICML 2020): mix the salient blocks of two images, moved to where both can be seen."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, ClassVar, final

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, integer, permutation, uniform
from tuner.regularizers.graph_cut import graph_cut
from tuner.regularizers.transport import move_blocks, transport_plan
from tuner.training.criterion import Criterion

SMALLEST_SHARE = 1e-8  # keeps the prior finite; the official code adds it to the probabilities, which bends the prior

BlockNum = Annotated[int, Field(ge=2)]


def puzzlemix(own: Tensor, partner: Tensor, targets: Tensor, perm: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """`mask * own + (1 - mask) * partner`, and targets (N,K) re-weighted by each sample's mean of the mask.

    `own` and `partner` are images (N,C,H,W), the partner's already in the order of `perm` (N,) and both transported or
    not; `mask` is float32 (N,1,rows,columns), one number for each block of the image.
    """
    pixels = enlarged(mask, *own.shape[-2:]).to(own.dtype)
    return torch.lerp(partner, own, pixels), interpolate(targets, perm, mask.mean((1, 2, 3)).unsqueeze(1))


def enlarged(mask: Tensor, height: int, width: int) -> Tensor:
    """The mask (N,1,rows,columns) on a finer grid (N,1,height,width) that each of its blocks is a whole part of."""
    return mask.repeat_interleave(height // mask.shape[2], 2).repeat_interleave(width // mask.shape[3], 3)


def clean_pass(net: nn.Module, images: Tensor, targets: Tensor, criterion: Criterion) -> tuple[Tensor, Tensor]:
    """The loss of clean images with its graph, and their saliency (N,H,W): the length of its gradient in each pixel.

    Always in float32: gradients of pixels are too small for float16. Only pixels get a gradient here, no parameter.
    The gradient is of the training's own criterion; the official code takes that of cross-entropy beside any loss.
    """
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        pixels = images.detach().float().requires_grad_()
        loss = criterion(net(pixels), targets)
        (gradient,) = torch.autograd.grad(loss, pixels, retain_graph=True)
    return loss, torch.linalg.vector_norm(gradient, dim=1)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Every module in eval mode, and afterwards each in the mode that it had."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def share_of_blocks(saliency: Tensor, rows: int, columns: int) -> Tensor:
    """The share (N,rows,columns) of each block in its image's saliency (N,H,W); they sum to 1.

    Where there is none, as for a sample that the net is sure of, or where it is not finite, all blocks count the same.
    """
    height, width = saliency.shape[1:]
    pooled = F.avg_pool2d(saliency, (height // rows, width // columns))
    total = pooled.sum((1, 2), keepdim=True)
    return torch.where(total.isfinite() & (total > 0), pooled / total, 1 / (rows * columns))


def seams(above: Tensor, below: Tensor, rows: int, columns: int) -> Tensor:
    """How far colours jump where each block of `above` meets the next row's of `below`: (N,rows-1,columns).

    The mean absolute difference, over channels and the length of the border, of images (N,C,H,W).
    """
    height, width = above.shape[2] // rows, above.shape[3] // columns
    jumps = (above[:, :, height - 1 : -1 : height] - below[:, :, height::height]).abs().mean(1)
    return F.avg_pool2d(jumps, (1, width))


def neighbours(own: Tensor, partner: Tensor, rows: int, columns: int, gamma: float) -> tuple[Tensor, Tensor]:
    """For vertical neighbours their weights (N,rows-1,columns), and what z costs each block (N,rows,columns).

    The cost 1 + gamma * d of two neighbours, with d the jump between what the mask shows of images (N,C,H,W) on both
    sides, is split as in the official code: weight * (z_u - z_v)^2, a part linear in each z, and a constant left out.
    """
    oo, op, po, pp = (seams(a, b, rows, columns) for a in (own, partner) for b in (own, partner))
    # Never negative for gamma <= 1 and colours in [0, 1]; with negative weights no cut would find the minimum.
    weights = (1 + gamma * (op + po - oo - pp) / 2).clamp_min(0)
    tilt = F.pad(gamma * (oo + op - po - pp) / 2, (0, 0, 0, 1)) + F.pad(gamma * (oo + po - op - pp) / 2, (0, 0, 1, 0))
    return weights, tilt


def prior(lam: float, n_labels: int) -> list[float]:
    """-log of the probabilities of 0, ..., n_labels - 1 under Binomial(n_labels - 1, lam)."""
    lam, top = min(max(lam, SMALLEST_SHARE), 1 - SMALLEST_SHARE), n_labels - 1
    return [-math.log(math.comb(top, k)) - k * math.log(lam) - (top - k) * math.log(1 - lam) for k in range(n_labels)]


def fitting(block_nums: Sequence[int], height: int, width: int) -> list[int]:
    """The numbers of blocks that divide both sides. Raises ValueError where there is none."""
    fits = [blocks for blocks in block_nums if height % blocks == 0 and width % blocks == 0]
    if not fits:
        raise ValueError(
            f"an image must divide into a whole number of blocks a side, and {height} x {width} divides into none of "
            f"{list(block_nums)}; list a divisor of its sides"
        )
    return fits


def places(t_size: int, side: int, blocks: int) -> int:
    """The number of transported blocks along a side. Raises ValueError if the mask's do not divide into them."""
    block = side // blocks
    size = block if t_size == -1 else min(t_size, block)
    if block % size:
        raise ValueError(
            f"a block of the mask must divide into transported ones, and {block} pixels ({side} in {blocks} blocks) do "
            f"not divide by {t_size}; take a divisor, or -1 for the mask's own blocks"
        )
    return side // size


def block_or_whole(t_size: int) -> int:
    if t_size < 1 and t_size != -1:
        raise ValueError(f"a transported block has 1 pixel a side or more, got {t_size}; -1 is the mask's own block")
    return t_size


@final
class PuzzleMix(Regularizer):
    """Shows of each image and its partner the salient blocks, with smooth borders, and weighs targets by area.

    The adversarial variant, off by default in the official code, is left out.
    """

    name: ClassVar[str] = "puzzlemix"
    paper: ClassVar[Paper] = Paper(
        title="Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup",
        authors="Kim et al.",
        venue="ICML 2020",
        url="https://arxiv.org/abs/2009.06962",
    )

    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the own image that the prior asks for, no unit",
        source="snu-mllab/PuzzleMix, README: --mixup_alpha 1.0 (CIFAR-100)",
        ge=SMALLEST_ALPHA,
    )
    mixup_prob: float = hp(
        1.0,
        "probability that a batch is mixed",
        source="snu-mllab/PuzzleMix, imagenet/README: --mixup_prob 1.0 (CIFAR's code mixes every batch)",
        ge=0,
        le=1,
    )
    block_nums: tuple[BlockNum, ...] = hp(
        (2, 4, 8, 16),
        "numbers of blocks a side, one drawn for each batch among those that divide the image",
        source="official mixup.py: block_num = 2**randint(1, 5)",
        min_length=1,
        strict=False,  # so that a YAML list is welcome; the numbers inside stay strict
    )
    n_labels: int = hp(
        3,
        "levels of the mask, evenly from 0 to 1; 2 swaps blocks whole",
        source="snu-mllab/PuzzleMix, README: --n_labels 3",
        ge=2,
        le=4,
    )
    beta: float = hp(
        1.2,
        "weight of smooth masks against saliency, no unit",
        source="snu-mllab/PuzzleMix, README: --beta 1.2",
        ge=0,
    )
    gamma: float = hp(
        0.5,
        "weight of smooth colours at the blocks' borders, in parts of beta",
        source="snu-mllab/PuzzleMix, README: --gamma 0.5",
        ge=0,
        le=1,  # above 1 unlike neighbours may be rewarded, and no cut finds the minimum any more
    )
    eta: float = hp(
        0.2,
        "weight of the prior that the mask's mean is lam, no unit",
        source="snu-mllab/PuzzleMix, README: --eta 0.2",
        ge=0,
    )
    neigh_size: int = hp(
        4,
        "side, in pixels, of the squares over which colours are averaged before borders are compared",
        source="snu-mllab/PuzzleMix, README: --neigh_size 4 (ImageNet at most 2)",
        ge=1,
    )
    transport: bool = hp(
        True,
        "move each image's blocks so that salient ones come where its mask shows them",
        source="snu-mllab/PuzzleMix, README: --transport True",
    )
    t_eps: float = hp(
        0.8,
        "cost of moving a block over the image's side, in units of the image's whole saliency",
        source="snu-mllab/PuzzleMix, README: --t_eps 0.8",
        gt=0,
    )
    t_size: Annotated[int, AfterValidator(block_or_whole)] = hp(
        -1,
        "side of a transported block in pixels, at most the mask's; -1: the mask's own blocks, whatever their number",
        source="snu-mllab/PuzzleMix, README: --t_size -1 (Tiny-ImageNet; 4 on CIFAR-100)",
    )
    clean_lam: float = hp(
        0.0,
        "weight of the clean images' loss beside that of the mixed ones",
        source="snu-mllab/PuzzleMix, README: --clean_lam 0 (CIFAR-100; 1 on Tiny-ImageNet)",
        ge=0,
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        if uniform(step.generator) >= self.mixup_prob:
            return step.criterion(net(images), targets)
        if self.clean_lam == 0:
            with evaluating(net):  # so that the statistics of normalisation layers stay as they are
                saliency = clean_pass(net, images, targets, step.criterion)[1]
            mixed, mixed_targets = self._mix(images, targets, saliency, step)
            return step.criterion(net(mixed), mixed_targets)
        # The official code calls backward on both losses in turn and steps once: the gradient of their sum. Its clean
        # term is clean_lam * CE beside CE, and clean_lam * 2 / K * CE, which is about clean_lam * BCE, beside BCE.
        clean, saliency = clean_pass(net, images, targets, step.criterion)
        mixed, mixed_targets = self._mix(images, targets, saliency, step)
        return step.criterion(net(mixed), mixed_targets) + self.clean_lam * clean

    def _mix(self, images: Tensor, targets: Tensor, saliency: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        fits = fitting(self.block_nums, *images.shape[-2:])
        blocks = fits[integer(0, len(fits), step.generator)]
        lam = beta(self.alpha, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        std = torch.tensor(step.std).view(-1, 1, 1).to(images, non_blocking=True)
        colours = images * std  # only differences count: no mean is added
        labels = graph_cut(*self.costs(colours, saliency, perm, lam, blocks))
        mask = labels.unsqueeze(1) / (self.n_labels - 1)
        own, partner = images, images.index_select(0, perm)
        if self.transport:
            own = self._transported(own, saliency, mask)
            partner = self._transported(partner, saliency.index_select(0, perm), 1 - mask)
        return puzzlemix(own, partner, targets, perm, mask)

    def costs(
        self, colours: Tensor, saliency: Tensor, perm: Tensor, lam: float, blocks: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The mask's energy on a grid of `blocks` x `blocks`, as arguments of `graph_cut` (section Optimizing Mask).

        For images (N,C,H,W) with colours in [0, 1], up to a constant for each channel, and saliency (N,H,W). Showing a
        block costs the other image's saliency there.
        """
        share = share_of_blocks(saliency, blocks, blocks)
        # Where neigh_size does not divide a block: 2 for ImageNet's 14 pixels, as in the official code, which fixes it.
        squares = [math.gcd(side // blocks, self.neigh_size) for side in colours.shape[-2:]]
        own = F.avg_pool2d(colours, squares)
        partner = own.index_select(0, perm)
        down, vertical = neighbours(own, partner, blocks, blocks, self.gamma)
        right, horizontal = neighbours(own.mT, partner.mT, blocks, blocks, self.gamma)
        weight = self.beta / (16 * blocks)
        shown = share.index_select(0, perm) + weight * (vertical + horizontal.mT)
        unary = [
            torch.lerp(share, shown, label / (self.n_labels - 1)) + self.eta / blocks**2 * surprise
            for label, surprise in enumerate(prior(lam, self.n_labels))
        ]
        return torch.stack(unary, dim=1), weight * down, weight * right.mT

    def _transported(self, images: Tensor, saliency: Tensor, mask: Tensor) -> Tensor:
        """Images (N,C,H,W) with their salient blocks moved to where their own mask (N,1,rows,columns) is above 0."""
        rows, columns = (places(self.t_size, *sizes) for sizes in zip(images.shape[-2:], mask.shape[-2:], strict=True))
        shown = enlarged(mask, rows, columns).squeeze(1)
        plan = transport_plan(share_of_blocks(saliency, rows, columns), shown, self.t_eps)
        return move_blocks(images, plan, rows, columns)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        try:
            fits = fitting(self.block_nums, *sides[0])
        except ValueError as error:
            return [("block_nums", str(error))]
        try:
            for blocks in fits if self.transport else ():
                for side in sides[0]:
                    places(self.t_size, side, blocks)
        except ValueError as error:
            return [("t_size", str(error))]
        return []
