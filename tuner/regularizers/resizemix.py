"""ResizeMix (Qin et al., 2020): shrink the whole partner, paste it anywhere, and share the label by area."""

from typing import ClassVar, final

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional as F

from tuner.regularizers.base import InputMix, Paper, Step, hp, interpolate
from tuner.regularizers.draws import integer, permutation, uniform
from tuner.regularizers.rectangle import Rectangle


def resizemix(images: Tensor, targets: Tensor, perm: Tensor, box: Rectangle) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) with the whole partner resized into the box, and targets (N,K) mixed by the area left outside.

    Bilinear over all pixels that fall into a new one, as image libraries do. OpenMixup takes the nearest ones, at a
    tenth of the side one in a hundred, and swaps height and width in the paste, which only square images forgive.
    """
    height, width = images.shape[-2:]
    small = F.interpolate(
        images, (box.bottom - box.top, box.right - box.left), mode="bilinear", align_corners=False, antialias=True
    )
    mixed = images.clone()
    mixed[..., box.top : box.bottom, box.left : box.right] = small.index_select(0, perm)
    return mixed, interpolate(targets, perm, 1 - box.area / (height * width))


def draw_box(scale: float, height: int, width: int, generator: torch.Generator) -> Rectangle:
    """A box of `scale` times each side, at least a pixel, uniform among those that lie wholly inside.

    OpenMixup clips a box around a uniform centre, which squeezes partners at the border out of shape.
    """
    rows, columns = (max(int(scale * side), 1) for side in (height, width))
    top, left = integer(0, height - rows + 1, generator), integer(0, width - columns + 1, generator)
    return Rectangle(top, top + rows, left, left + columns)


@final
class ResizeMix(InputMix):
    """Pastes a small copy of the partner, of one size and at one place for the whole batch."""

    name: ClassVar[str] = "resizemix"
    paper: ClassVar[Paper] = Paper(
        title="ResizeMix: Mixing Data with Preserved Object Information and True Labels",
        authors="Qin et al.",
        venue="arXiv 2020",
        url="https://arxiv.org/abs/2012.11101",
    )

    scale_min: float = hp(
        0.1,
        "least side of the pasted image, as a share of the image's: scale ~ U(scale_min, scale_max)",
        source="the paper's lower bound, OpenMixup: scope=(0.1, 0.8)",
        gt=0,
        le=1,
    )
    scale_max: float = hp(
        0.8,
        "greatest side of the pasted image, as a share of the image's",
        source="the paper's upper bound, OpenMixup: scope=(0.1, 0.8)",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _check_order(self):
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"scale_min must be at most scale_max, got {self.scale_min:g} and {self.scale_max:g}; exchange them"
            )
        return self

    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        scale = self.scale_min + (self.scale_max - self.scale_min) * uniform(step.generator)
        perm = permutation(len(images), step.generator, images.device)
        return resizemix(images, targets, perm, draw_box(scale, *images.shape[-2:], step.generator))
