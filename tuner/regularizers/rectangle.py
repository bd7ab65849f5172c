"""CutMix's rectangle: one box for the whole batch, swapped with the partner's.

It has a file of its own because other methods use it too, PatchUp in input space for one."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tuner.regularizers.draws import integer


class Rectangle(NamedTuple):
    """Rows top, ..., bottom - 1 and columns left, ..., right - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


def rectangle_around(row: int, column: int, lam: float, height: int, width: int) -> Rectangle:
    """The box of about (1 - lam) of the map around a pixel, clipped at the map's border (Yun et al. 2019, eq. 2).

    Its area is at most (1 - lam) of the map: sides are cut to even numbers, as in the official code, and a box at the
    border loses what sticks out. Read the true share from the result, never from lam.
    """
    half_height, half_width = (int(side * math.sqrt(1 - lam)) // 2 for side in (height, width))
    return Rectangle(
        top=max(row - half_height, 0),
        bottom=min(row + half_height, height),
        left=max(column - half_width, 0),
        right=min(column + half_width, width),
    )


def draw_rectangle(lam: float, height: int, width: int, generator: torch.Generator) -> Rectangle:
    """A rectangle of about (1 - lam) of the map around a uniformly drawn pixel."""
    return rectangle_around(integer(0, height, generator), integer(0, width, generator), lam, height, width)


def swap_rectangle(images: Tensor, perm: Tensor, box: Rectangle) -> tuple[Tensor, float]:
    """Copies of images (N,C,H,W) whose box comes from the partner, and `lam`, the share of pixels that stayed."""
    height, width = images.shape[-2:]
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    swapped = images.clone()
    swapped[..., rows, columns] = images[..., rows, columns].index_select(0, perm)
    return swapped, 1 - box.area / (height * width)
