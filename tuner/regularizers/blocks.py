"""Blocks of a map: DropBlock's, on which PatchUp's are modelled, and Cutout's on the image."""

from torch import Tensor
from torch.nn import functional as F

REFERENCE_SIDE = 32  # the side, CIFAR's, of the images and maps that published block sizes are meant for


def scaled(size: int, side: int) -> int:
    """The smallest size that covers no less of `side` than `size` covers of 32: 16 gives 4 at 8 and 112 at 224."""
    return -(-size * side // REFERENCE_SIDE)


def seed_probability(share: float, height: int, width: int, rows: int, columns: int) -> float:
    """The probability of a seed that makes blocks of `rows` x `columns` cover a share of the map, at most 1.

    It is gamma of DropBlock's eq. 1, and gamma_adj of PatchUp's eq. 2, for a block that fits into the map. Height and
    width enter apart, which for square maps is the equation itself. Blocks that overlap cover less.
    """
    valid = (height - rows + 1) * (width - columns + 1)
    return min(share * height * width / (rows * columns * valid), 1.0)


def block_holes(seeds: Tensor, rows: int, columns: int) -> Tensor:
    """Blocks around seeds, both float (N,C,H,W) of 0 and 1; what sticks out of the map is clipped.

    A block of an even size reaches one further up or left of its seed, as in the official DropBlock.
    """
    height, width = seeds.shape[-2:]
    # A maximum over a block is a maximum over its rows of maxima over its columns: 2b comparisons instead of b * b.
    bars = F.max_pool2d(seeds, (rows, 1), stride=1, padding=(rows // 2, 0))
    # Padded by half of an even block on both sides, a map grows by one, at its start.
    return F.max_pool2d(bars, (1, columns), stride=1, padding=(0, columns // 2))[..., -height:, -width:]
