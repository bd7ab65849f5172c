"""FMix (Harris et al., 2020): cut two images along the contours of a low-frequency random image."""

from typing import ClassVar, final

import torch
from torch import Tensor

from tuner.regularizers.base import InputMix, Paper, Step, hp, interpolate
from tuner.regularizers.draws import SMALLEST_ALPHA, beta, permutation


def fmix(images: Tensor, targets: Tensor, perm: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N,C,H,W) from the partner where the float32 mask (1,1,H,W) is 0, and targets (N,K) by its mean.

    The official code weighs the targets by the lam that was drawn, up to a pixel off what the image shows.
    """
    return interpolate(images, perm, mask.to(images.dtype)), interpolate(targets, perm, mask.mean())


def low_frequency_image(coefficients: Tensor, decay_power: float, height: int, width: int) -> Tensor:
    """The image (H,W) of Fourier coefficients, complex (H, W // 2 + 1), divided by frequency ** decay_power.

    Frequencies count from that of one wave along the longer side, below which nothing is amplified; only a constant
    factor sets this apart from the official code, and the mask does not see it.
    """
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)) * max(height, width)
    return torch.fft.irfft2(coefficients * frequency.clamp(min=1) ** -decay_power, (height, width))


def brightest(image: Tensor, share: float) -> Tensor:
    """A float32 mask (1,1,H,W) that is 1 at the brightest `share` of the pixels of an image (H,W), to half a pixel.

    The official code rounds up or down at random, and can soften the border (max_soft), which its paper leaves at 0.
    """
    mask = torch.zeros(image.numel())
    mask[image.flatten().topk(round(share * image.numel()), sorted=False).indices] = 1
    return mask.view(1, 1, *image.shape)


def draw_mask(lam: float, decay_power: float, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A mask float32 (1,1,H,W), on the CPU, whose share `lam` of ones lies in a few smooth regions.

    Real and imaginary parts are independent, as in the paper. The official code lays both along one axis, as if they
    were real coefficients: each of its masks is symmetric about a point.
    """
    coefficients = torch.randn(height, width // 2 + 1, dtype=torch.complex64, generator=generator)
    return brightest(low_frequency_image(coefficients, decay_power, height, width), lam)


@final
class FMix(InputMix):
    """Takes the bright regions of a random landscape from each image and the dark ones from its partner."""

    name: ClassVar[str] = "fmix"
    paper: ClassVar[Paper] = Paper(
        title="FMix: Enhancing Mixed Sample Data Augmentation",
        authors="Harris et al.",
        venue="arXiv 2020",
        url="https://arxiv.org/abs/2002.12047",
    )

    alpha: float = hp(
        1.0,
        "shape of lam ~ Beta(alpha, alpha), the share of the image that stays, no unit",
        source="ecs-vlc/FMix, fmix.py: alpha=1",
        ge=SMALLEST_ALPHA,
    )
    decay_power: float = hp(
        3.0,
        "power of the frequency that amplitudes fall with, no unit; 0 is white noise, more is fewer, smoother regions",
        source="ecs-vlc/FMix, fmix.py: decay_power=3",
        ge=0,
    )

    def mix(self, images: Tensor, targets: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, step.generator)
        perm = permutation(len(images), step.generator, images.device)
        mask = draw_mask(lam, self.decay_power, *images.shape[-2:], step.generator)
        return fmix(images, targets, perm, mask.to(images.device, non_blocking=True))
