"""Cutout (DeVries and Taylor, 2017): blank a square of each image, at a random place."""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from tuner.regularizers.base import InputMix, Paper, Step, hp
from tuner.regularizers.blocks import scaled


def cutout(images: Tensor, centres: Tensor, rows: int, columns: int) -> Tensor:
    """Images (N,C,H,W) that are 0, the mean of normalised images, in `rows` x `columns` pixels around the centres.

    `centres` is int64 (N,n_holes,2), row and column; what sticks out of the image is clipped. An odd side is erased as
    it is, as in the paper; the authors' code erases one pixel less.
    """
    height, width = images.shape[-2:]
    in_rows, in_columns = spans(centres[..., 0], rows, height), spans(centres[..., 1], columns, width)
    holes = (in_rows.unsqueeze(-1) & in_columns.unsqueeze(-2)).any(1, keepdim=True)
    return images.masked_fill(holes, 0)


def spans(centres: Tensor, length: int, side: int) -> Tensor:
    """For centres (N,n_holes) bool (N,n_holes,side): True at the `length` pixels from centre - length // 2 on."""
    offsets = torch.arange(side, device=centres.device) - centres.unsqueeze(-1) + length // 2
    return (offsets >= 0) & (offsets < length)


def draw_centres(images: Tensor, n_holes: int, generator: torch.Generator) -> Tensor:
    """Centres int64 (N,n_holes,2), uniform over all pixels, anew for each image, as in the paper and the authors' code.

    PatchUp's baseline has one mask for the whole batch.
    """
    samples, _, height, width = images.shape
    places = [torch.randint(side, (samples, n_holes), generator=generator) for side in (height, width)]
    return torch.stack(places, dim=-1).to(images.device, non_blocking=True)


@final
class Cutout(InputMix):
    """Blanks squares of every image; targets stay."""

    name: ClassVar[str] = "cutout"
    paper: ClassVar[Paper] = Paper(
        title="Improved Regularization of Convolutional Neural Networks with Cutout",
        authors="DeVries and Taylor",
        venue="arXiv 2017",
        url="https://arxiv.org/abs/1708.04552",
    )

    n_holes: int = hp(
        1,
        "squares in each image",
        source="uoguelph-mlrg/Cutout, train.py: --n_holes 1",
        ge=1,
    )
    length: int = hp(
        16,
        "side of a square in pixels of a 32 x 32 image (of any image where scale_length is off)",
        source="uoguelph-mlrg/Cutout, README: --length 16 on CIFAR-10 (8 on CIFAR-100, 20 on SVHN)",
        ge=1,
    )
    scale_length: bool = hp(
        True,
        "scale the square with the image; off: the same number of pixels in any image",
        source="ours: the same on the authors' data sets, all of 32 x 32, and one search space for images of any size",
    )

    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        centres = draw_centres(images, self.n_holes, step.generator)
        return cutout(images, centres, *self._hole(*images.shape[-2:])), targets

    def _hole(self, height: int, width: int) -> tuple[int, int]:
        if not self.scale_length:
            return self.length, self.length
        return scaled(self.length, height), scaled(self.length, width)

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        (height, width), (rows, columns) = sides[0], self._hole(*sides[0])
        if rows < 2 * height - 1 or columns < 2 * width - 1:
            return []
        hole, image = f"a hole of {rows} x {columns}", f"every {height} x {width} image"
        advice = "make length smaller" if self.scale_length else "make length smaller or turn scale_length on"
        return [("length", f"{self.length} makes {hole}, which blanks {image} wherever it falls; {advice}")]
