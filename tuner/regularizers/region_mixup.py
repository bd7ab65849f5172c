"""Region Mixup (Saha and Garain, ICLR 2024 Tiny Papers): mixup tile by tile, each with its own partner and share."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from tuner.regularizers.base import Paper, Regularizer, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation
from tuner.regularizers.rectangle import Rectangle


def region_mixup(
    images: Tensor, targets: Tensor, tiles: Sequence[Rectangle], perms: Sequence[Tensor], lams: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) blended inside each tile with that tile's partner, and targets (N,K) by area (eq. 1).

    Tile j has its permutation `perms[j]` (N,) and its share `lams[j]`; together the tiles cover the image once. The
    paper's tiles are of equal size and weigh 1/k^2 each, which an area does too.
    """
    height, width = images.shape[-2:]
    mixed, mixed_targets = torch.empty_like(images), torch.zeros_like(targets)
    for tile, perm, lam in zip(tiles, perms, lams, strict=True):
        inside = (..., slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        mixed[inside] = interpolate(images[inside], perm, lam)
        mixed_targets += tile.area / (height * width) * interpolate(targets, perm, lam)
    return mixed, mixed_targets


def grid(grid_size: int, height: int, width: int) -> list[Rectangle]:
    """The grid_size x grid_size tiles of an image; where it does not divide the sides, tiles differ by one pixel."""
    rows, columns = ([side * line // grid_size for line in range(grid_size + 1)] for side in (height, width))
    return [Rectangle(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


@final
class RegionMixup(Regularizer):
    """Blends each tile of an image with that of another partner, and trains on the clean images beside."""

    name: ClassVar[str] = "region_mixup"
    paper: ClassVar[Paper] = Paper(
        title="Region Mixup",
        authors="Saha and Garain",
        venue="ICLR 2024 Tiny Papers",
        url="https://arxiv.org/abs/2409.15028",
    )

    grid_size: int = hp(
        2,
        "tiles along each side of the image; 1 is mixup",
        source="the paper's experiments as reviews tell them: k = 2; its own text lost the number",
        ge=1,
    )
    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the own pixel in a tile, no unit",
        source="ours, as for mixup: the paper names no value",
        ge=SMALLEST_ALPHA,
    )
    ce_weight: float = hp(
        1.0,
        "weight of the loss on the clean images; 0 leaves it, and its forward pass, out",
        source="section 2 adds the standard cross-entropy and names no weight",
        ge=0,
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        tiles = grid(self.grid_size, *images.shape[-2:])
        # The paper gives each tile a share of its own and leaves open whether samples share it: they do, as in mixup.
        lams = [beta(self.alpha, step.generator) for _ in tiles]
        perms = [permutation(len(images), step.generator, images.device) for _ in tiles]
        mixed, mixed_targets = region_mixup(images, targets, tiles, perms, lams)
        loss = step.criterion(net(mixed), mixed_targets)
        if self.ce_weight:
            # A pass of its own: in one joint batch, clean images would be normalised by the statistics of mixed ones,
            # and neither term would be what it is alone. It comes last: the running statistics lean to what is tested.
            # Where the campaign's criterion is not cross-entropy it is this term too: two losses would not compare.
            loss = loss + self.ce_weight * step.criterion(net(images), targets)
        return loss

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        height, width = sides[0]
        if self.grid_size <= min(height, width):
            return []
        size, image = f"{self.grid_size} x {self.grid_size} tiles", f"an image of {height} x {width} pixels"
        return [
            ("grid_size", f"a tile has at least one pixel, got {size} of {image}; take {min(height, width)} or less")
        ]
