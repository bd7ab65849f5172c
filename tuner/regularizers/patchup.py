"""PatchUp (Faramarzi et al., AAAI 2022): swap or blend blocks of the feature maps of two samples at a random depth."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, final

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.blocks import block_holes, scaled, seed_probability
from tuner.regularizers.depths import Layers, PublishedLayers, draw_depth, layers_hp, too_deep
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation, uniform, uniform_field
from tuner.regularizers.rectangle import Rectangle, draw_rectangle, swap_rectangle


def patchup(hidden: Tensor, targets: Tensor, perm: Tensor, holes: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Hidden maps (N,C,H,W) mixed in the holes, and targets (N,K) re-weighted: eqs. 5 and 8, at lam = 0 eqs. 3 and 7.

    `holes` is float32 (1,C,H,W), 1 where features are altered (the paper's 1 - M); of those, the share `lam` stays.
    """
    own = 1 - (1 - lam) * holes
    # Only the mask is cast: a mean over a map is off in the third digit in bfloat16, and overflows in float16.
    return interpolate(hidden, perm, own.to(hidden.dtype)), interpolate(targets, perm, own.mean())


def patchup_input(images: Tensor, targets: Tensor, perm: Tensor, box: Rectangle) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) with the partner's box, and targets (N,K) re-weighted: eqs. 3 and 7 with a box for the holes."""
    mixed, unchanged = swap_rectangle(images, perm, box)
    return mixed, interpolate(targets, perm, unchanged)


def draw_box(images: Tensor, generator: torch.Generator) -> Rectangle:
    """CutMix's rectangle for lam ~ Beta(1, 1), whatever the alpha of the soft form."""
    return draw_rectangle(uniform(generator), *images.shape[-2:], generator)


def scaled_block(block_size: int, side: int) -> int:
    """The smallest odd size that covers no less of `side` than `block_size` covers of 32: 7 gives 5 at 16 and 3 at 8.

    These are the sizes that the official WRN-28-10 writes out for its deeper maps.
    """
    return scaled(block_size, side) | 1


def draw_holes(hidden: Tensor, blocks: tuple[int, int], gamma: float, generator: torch.Generator) -> Tensor:
    """A mask float32 (1,C,H,W) for hidden maps (N,C,H,W): every channel has its own, and all samples share it.

    So does the official code; the paper only speaks of "the same size as the feature map". Seeds fall anywhere, at the
    border too. A block larger than the map would make eq. 2 meaningless: it becomes the largest odd one that fits.
    """
    _, channels, height, width = hidden.shape
    rows, columns = ((min(block, side) - 1) | 1 for block, side in zip(blocks, (height, width), strict=True))
    field = uniform_field((1, channels, height, width), generator, hidden.device)
    return block_holes((field < seed_probability(gamma, height, width, rows, columns)).float(), rows, columns)


def odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"a block has a centre, so its size must be odd, got {size}; take {size - 1} or {size + 1}")
    return size


class PatchUp(Regularizer):
    """What all forms share: some batches stay clean, and the others count twice."""

    paper: ClassVar[Paper] = Paper(
        title="PatchUp: A Feature-Space Block-Level Regularization Technique for Convolutional Neural Networks",
        authors="Faramarzi et al.",
        venue="AAAI 2022",
        url="https://arxiv.org/abs/2006.07794",
    )

    patchup_prob: float

    @abstractmethod
    def alter(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """The logits (N,K) of the altered batch, and its targets re-weighted: the paper's W."""

    @final
    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        if uniform(step.generator) >= self.patchup_prob:
            return step.criterion(net(images), targets)
        logits, reweighted = self.alter(net, images, targets, step)
        # Eq. 6 is Mix_pu[l(f, y_i), l(f, Y)] + l(f, W). Our criteria are affine in the target, so its first term is
        # l(f, Mix_pu(y_i, Y)) = l(f, W), the second one again. The 2 stays: it weighs against weight decay.
        return 2 * step.criterion(logits, reweighted)


class PatchUpBlocks(PatchUp):
    """What the hard and the soft form share: depth and mask."""

    gamma: float
    block_size: Annotated[int, AfterValidator(odd)] = hp(
        7,
        "side of a block, odd, in features of a 32 x 32 map (of any map where scale_block is off)",
        source="section Experiments: block_size 7 for all data sets",
        ge=1,
    )
    scale_block: bool = hp(
        True,
        "scale the block with the map; off: the same block on every map, which swaps 99 % of an 8 x 8 map",
        source="official WRN-28-10: blocks 7, 7, 5, 3 at depths 1 to 4 (official PreActResNet: 7 everywhere)",
    )
    layers: Layers = layers_hp(
        PublishedLayers.PATCHUP.value,
        "to draw from for each batch",
        source="official code: --k 2, that is 0, 1, 2 (the paper adds 3 for WRN-28-10)",
    )

    @abstractmethod
    def draw_lam(self, generator: torch.Generator) -> float:
        """The share of the sample's own feature inside a block."""

    @final
    def alter(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        depth = draw_depth(self.layers, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        hidden = net[:depth](images)
        if depth == 0:  # section "PatchUp in Input Space": one rectangle, swapped by the soft form too
            mixed, reweighted = patchup_input(images, targets, perm, draw_box(images, step.generator))
        else:
            holes = draw_holes(hidden, self._blocks(*hidden.shape[-2:]), self.gamma, step.generator)
            mixed, reweighted = patchup(hidden, targets, perm, holes, self.draw_lam(step.generator))
        return net[depth:](mixed), reweighted

    def _blocks(self, height: int, width: int) -> tuple[int, int]:
        if not self.scale_block:
            return self.block_size, self.block_size
        return scaled_block(self.block_size, height), scaled_block(self.block_size, width)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        found = too_deep(self.layers, sides)
        for depth in self.layers:
            if 0 < depth < len(sides):  # the input gets a rectangle, not blocks
                (height, width), (rows, columns) = sides[depth], self._blocks(*sides[depth])
                if rows > height or columns > width:
                    block, where = f"a block of {rows} x {columns}", f"the {height} x {width} map at depth {depth}"
                    advice = f"make block_size smaller, turn scale_block on or take {depth} out of layers"
                    found.append(("block_size", f"{self.block_size} makes {block}, larger than {where}; {advice}"))
        return found


@final
class PatchUpHard(PatchUpBlocks):
    """Swaps the blocks with those of a partner (eqs. 3 and 7)."""

    name: ClassVar[str] = "patchup_hard"

    patchup_prob: float = hp(
        0.7,
        "probability that a batch is altered",
        source="section Experiments: 0.7 for Hard PatchUp",
        ge=0,
        le=1,
    )
    gamma: float = hp(
        0.5,
        "share of the features to alter, before blocks overlap and are clipped",
        source="section Experiments: 0.5 for Hard PatchUp",
        ge=0,
        le=1,
    )

    def draw_lam(self, generator: torch.Generator) -> float:
        return 0.0


@final
class PatchUpSoft(PatchUpBlocks):
    """Blends the blocks with those of a partner (eqs. 5 and 8)."""

    name: ClassVar[str] = "patchup_soft"

    patchup_prob: float = hp(
        1.0,
        "probability that a batch is altered",
        source="section Experiments: 1.0 for Soft PatchUp",
        ge=0,
        le=1,
    )
    gamma: float = hp(
        0.75,
        "share of the features to alter, before blocks overlap and are clipped",
        source="section Experiments: 0.75 for Soft PatchUp",
        ge=0,
        le=1,
    )
    alpha: float = hp(
        2.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the own feature inside a block, no unit",
        source="section Experiments: alpha 2, which the official code writes out as Beta(2, 2)",
        ge=SMALLEST_ALPHA,
    )

    def draw_lam(self, generator: torch.Generator) -> float:
        return beta(self.alpha, generator)


@final
class PatchUpInput(PatchUp):
    """Swaps one rectangle of the images, that is depth 0 alone: CutMix with lam ~ Beta(1, 1) and PatchUp's loss."""

    name: ClassVar[str] = "patchup_input"

    patchup_prob: float = hp(
        0.7,
        "probability that a batch is altered",
        source="section Experiments: 0.7 for Hard PatchUp, of which this is the part in input space",
        ge=0,
        le=1,
    )

    def alter(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        perm = permutation(len(images), step.generator, images.device)
        mixed, reweighted = patchup_input(images, targets, perm, draw_box(images, step.generator))
        return net(mixed), reweighted
