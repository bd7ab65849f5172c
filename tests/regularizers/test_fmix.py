"""FMix by hand on a 4x4 image, its landscapes from known waves, and the law of its mask."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.fmix import FMix, brightest, draw_mask, fmix, low_frequency_image


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_golden():
    coefficients = torch.zeros(4, 3, dtype=torch.complex64)
    coefficients[0, 1] = 1  # one wave from left to right: its crest is the first column
    mask = brightest(low_frequency_image(coefficients, decay_power=3.0, height=4, width=4), share=0.25)
    assert mask.tolist() == [[[[1, 0, 0, 0]] * 4]]
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.full((1, 4, 4), 2.0)])
    before = images.clone()
    mixed, targets = fmix(images, torch.eye(3), torch.tensor([1, 2, 0]), mask)
    assert mixed[0, 0].tolist() == [[0, 1, 1, 1]] * 4
    assert mixed[2, 0].tolist() == [[2, 0, 0, 0]] * 4
    assert targets.tolist() == [[0.25, 0.75, 0], [0, 0.25, 0.75], [0.75, 0, 0.25]]
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("row", "column", "amplitude"),
    [
        (0, 0, 1),  # the mean: frequencies below one wave are not amplified
        (0, 1, 1),  # one wave along the longer side
        (1, 0, 1 / 8),  # one wave along the shorter one is as fast as two along the longer: 1 / 2 ** 3
        (0, 2, 1 / 8),
        (2, 4, 1 / math.sqrt(32) ** 3),  # the fastest of both directions
    ],
)
def test_amplitudes_fall_with_the_frequency_alone_in_any_direction(row, column, amplitude):
    coefficients = torch.zeros(4, 5, dtype=torch.complex64)
    coefficients[row, column] = 32  # the number of pixels, so that white noise would have amplitude 1 or 2
    image = low_frequency_image(coefficients, decay_power=3.0, height=4, width=8)
    white = low_frequency_image(coefficients, decay_power=0.0, height=4, width=8)
    assert white.amax() in (1, 2)
    torch.testing.assert_close(image, amplitude * white)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.777, 1.0])
def test_the_brightest_pixels_are_taken_to_half_a_pixel(share):
    image = torch.randn(7, 5, generator=seeded())
    mask = brightest(image, share)
    assert mask.dtype == torch.float32
    assert abs(mask.sum() - share * 35) <= 0.5
    inside = mask.view(7, 5).bool()
    assert not inside.any() or inside.all() or image[inside].min() > image[~inside].max()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (12, 20), (32, 32)])
def test_masks_of_any_shape(height, width):
    mask = draw_mask(0.4, 3.0, height, width, seeded())
    assert mask.shape == (1, 1, height, width)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask.sum() == round(0.4 * height * width)


def test_more_decay_gives_shorter_borders():
    def border(decay_power):
        generator = seeded()
        masks = torch.cat([draw_mask(0.5, decay_power, 32, 32, generator) for _ in range(100)])
        return (masks.diff(dim=2).abs().sum() + masks.diff(dim=3).abs().sum()).item() / 100

    borders = [border(decay_power) for decay_power in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert abs(borders[0] - 992) < 30  # white noise: half of the 2 * 32 * 31 neighbours differ
    assert all(longer > 1.05 * shorter for longer, shorter in pairwise(borders))


def test_masks_are_not_symmetric_about_a_point():
    for seed in range(5):
        mask = draw_mask(0.5, 3.0, 32, 32, seeded(seed))
        assert not torch.equal(mask, mask.flip(2, 3).roll((1, 1), (2, 3)))


def test_every_pixel_belongs_to_the_mask_equally_often():
    generator, n = seeded(), 2000
    mean = sum(draw_mask(0.3, 3.0, 4, 6, generator) for _ in range(n)) / n
    assert (mean - round(0.3 * 24) / 24).abs().max() < 4.5 * math.sqrt(0.21 / n)  # the greatest of 24


def watch(method, seeds):
    """What reaches the criterion: the images themselves, as the net does nothing, and the targets."""
    images, seen = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 6, 8), []

    def criterion(logits, targets):
        seen.append((logits.view(3, 2, 6, 8), targets))
        return logits.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(3), step)
    return seen


def test_lam_is_the_share_of_pixels_that_stayed_and_the_mask_is_one_for_all():
    for mixed, targets in watch(FMix(), range(40)):
        for sample in range(3):
            shares = torch.tensor([(mixed[sample] == partner).float().mean() for partner in range(3)])
            torch.testing.assert_close(targets[sample], shares)
        swapped = [mixed[sample] != sample for sample in range(3) if (mixed[sample] != sample).any()]
        assert all(torch.equal(other[channel], swapped[0][0]) for other in swapped for channel in range(2))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_the_share_that_stays_has_the_moments_of_beta(alpha):
    shares = [targets.diagonal().amin() for _, targets in watch(FMix(alpha=alpha), range(600))]
    # An identity permutation (1 in 6) leaves all; the others show lam itself, to half a pixel of 48.
    shares = torch.stack(shares)
    n, variance = 600, 1 / (4 * (2 * alpha + 1))
    mean, second = 5 / 6 * 0.5 + 1 / 6, 5 / 6 * (variance + 0.25) + 1 / 6
    assert abs(shares.mean() - mean) < 4 * shares.std() / math.sqrt(n)
    assert abs((shares**2).mean() - second) < 4 * (shares**2).std() / math.sqrt(n)
