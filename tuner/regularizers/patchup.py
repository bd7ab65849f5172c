"""PatchUp (Faramarzi et al., AAAI 2022): swap or blend blocks of the feature maps of two samples at a random depth."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, final

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, integer, permutation, uniform, uniform_field
from tuner.regularizers.rectangle import draw_rectangle, swap_rectangle

REFERENCE_SIDE = 32  # the maps, CIFAR's, that the paper's block sizes are meant for

Depth = Annotated[int, Field(ge=0)]


def patchup(hidden: Tensor, targets: Tensor, perm: Tensor, holes: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Hidden maps (N,C,H,W) mixed in the holes, and targets (N,K) re-weighted: eqs. 5 and 8, at lam = 0 eqs. 3 and 7.

    `holes` is float32 (1,C,H,W), 1 where features are altered (the paper's 1 - M); of those, the share `lam` stays.
    """
    own = 1 - (1 - lam) * holes
    # Only the mask is cast: a mean over a map is off in the third digit in bfloat16, and overflows in float16.
    return interpolate(hidden, perm, own.to(hidden.dtype)), interpolate(targets, perm, own.mean())


def seed_probability(gamma: float, height: int, width: int, rows: int, columns: int) -> float:
    """The probability that a feature is the centre of a block of `rows` x `columns`: gamma_adj of eq. 2, at most 1.

    Height and width enter apart, which for square maps is eq. 2 itself. Computed anew for each map: the official code
    keeps the value of whichever depth it draws first.
    """
    valid = (height - rows + 1) * (width - columns + 1)
    return min(gamma * height * width / (rows * columns * valid), 1.0)


def block_holes(seeds: Tensor, rows: int, columns: int) -> Tensor:
    """Odd blocks around seeds, both float (1,C,H,W) of 0 and 1; what sticks out of the map is clipped."""
    # A maximum over a block is a maximum over its rows of maxima over its columns: 2b comparisons instead of b * b.
    bars = F.max_pool2d(seeds, (rows, 1), stride=1, padding=(rows // 2, 0))
    return F.max_pool2d(bars, (1, columns), stride=1, padding=(0, columns // 2))


def scaled_block(block_size: int, side: int) -> int:
    """The smallest odd size that covers no less of `side` than `block_size` covers of 32: 7 gives 5 at 16 and 3 at 8.

    These are the sizes that the official WRN-28-10 writes out for its deeper maps.
    """
    return -(-block_size * side // REFERENCE_SIDE) | 1


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


def distinct(layers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(layers)) < len(layers):
        raise ValueError(f"each depth must be listed once, got {list(layers)}; all are drawn equally often")
    return layers


class PatchUp(Regularizer):
    """What the hard and the soft form share: depth, mask and loss."""

    paper: ClassVar[Paper] = Paper(
        title="PatchUp: A Feature-Space Block-Level Regularization Technique for Convolutional Neural Networks",
        authors="Faramarzi et al.",
        venue="AAAI 2022",
        url="https://arxiv.org/abs/2006.07794",
    )

    patchup_prob: float
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
    layers: Annotated[tuple[Depth, ...], AfterValidator(distinct)] = hp(
        (0, 1, 2),
        "depths to draw from for each batch: 0 input, 1 after the stem, 2 after stage 1, ...",
        source="official code: --k 2, that is 0, 1, 2 (the paper adds 3 for WRN-28-10)",
        min_length=1,
        strict=False,  # so that a YAML list is welcome; the numbers inside stay strict
    )

    @abstractmethod
    def draw_lam(self, generator: torch.Generator) -> float:
        """The share of the sample's own feature inside a block."""

    @final
    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        if uniform(step.generator) >= self.patchup_prob:
            return step.criterion(net(images), targets)
        depth = self.layers[integer(0, len(self.layers), step.generator)]
        perm = permutation(len(images), step.generator, images.device)
        mix = self._mix_hidden if depth else self._mix_input
        hidden, reweighted = mix(net[:depth](images), targets, perm, step)
        # Eq. 6 is Mix_pu[l(f, y_i), l(f, Y)] + l(f, W). Our criteria are affine in the target, so its first term is
        # l(f, Mix_pu(y_i, Y)) = l(f, W), the second one again. The 2 stays: it weighs against weight decay.
        return 2 * step.criterion(net[depth:](hidden), reweighted)

    def _mix_hidden(self, hidden: Tensor, targets: Tensor, perm: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        holes = draw_holes(hidden, self._blocks(*hidden.shape[-2:]), self.gamma, step.generator)
        return patchup(hidden, targets, perm, holes, self.draw_lam(step.generator))

    def _mix_input(self, images: Tensor, targets: Tensor, perm: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        # Section "PatchUp in Input Space": one CutMix rectangle, lam ~ Beta(1, 1), for the soft form too.
        box = draw_rectangle(uniform(step.generator), *images.shape[-2:], step.generator)
        mixed, share = swap_rectangle(images, perm, box)
        return mixed, interpolate(targets, perm, share)

    def _blocks(self, height: int, width: int) -> tuple[int, int]:
        if not self.scale_block:
            return self.block_size, self.block_size
        return scaled_block(self.block_size, height), scaled_block(self.block_size, width)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        found = []
        for depth in self.layers:
            if depth >= len(sides):
                found.append(("layers", f"this net has maps at depths 0 to {len(sides) - 1}, got {depth}"))
            elif depth > 0:  # the input gets a rectangle, not blocks
                (height, width), (rows, columns) = sides[depth], self._blocks(*sides[depth])
                if rows > height or columns > width:
                    block, where = f"a block of {rows} x {columns}", f"the {height} x {width} map at depth {depth}"
                    advice = f"make block_size smaller, turn scale_block on or take {depth} out of layers"
                    found.append(("block_size", f"{self.block_size} makes {block}, larger than {where}; {advice}"))
        return found


@final
class PatchUpHard(PatchUp):
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
class PatchUpSoft(PatchUp):
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
