"""CutMix and its rectangle by hand on a 4x4 image, and the law of the box."""

import math

import pytest
import torch
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.cutmix import CutMix, cutmix
from tuner.regularizers.rectangle import Rectangle, draw_rectangle, rectangle_around


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_golden():
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.full((1, 4, 4), 2.0)])
    before = images.clone()
    box = Rectangle(top=1, bottom=3, left=0, right=3)
    mixed, targets = cutmix(images, torch.eye(3), perm=torch.tensor([1, 2, 0]), box=box)
    first = [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    third = [[2, 2, 2, 2], [0, 0, 0, 2], [0, 0, 0, 2], [2, 2, 2, 2]]
    assert mixed[0, 0].tolist() == first
    assert mixed[2, 0].tolist() == third
    # 6 of 16 pixels came from the partner.
    expected = [[0.625, 0.375, 0], [0, 0.625, 0.375], [0.375, 0, 0.625]]
    assert torch.equal(targets, torch.tensor(expected))
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("row", "column", "lam", "expected"),
    [
        (4, 8, 0.75, (2, 6, 4, 12)),  # sides 8 * sqrt(.25) = 4 and 16 * sqrt(.25) = 8
        (0, 15, 0.75, (0, 2, 11, 16)),  # clipped at the top and at the right
        (4, 8, 0.5, (2, 6, 3, 13)),  # sides 5.66 -> 5 -> 2 each way, 11.31 -> 11 -> 5 each way
        (4, 8, 0.0, (0, 8, 0, 16)),  # the whole image
        (4, 8, 1.0, (4, 4, 8, 8)),  # nothing
    ],
)
def test_rectangle_around_a_pixel_of_an_8_by_16_image(row, column, lam, expected):
    box = rectangle_around(row, column, lam, height=8, width=16)
    assert box == expected
    assert box.area == (expected[1] - expected[0]) * (expected[3] - expected[2])


def test_mean_area_and_share_of_empty_boxes_for_uniform_lam_on_32_pixels():
    generator, n = seeded(), 6000
    lams = torch.rand(n, dtype=torch.float64, generator=generator).tolist()
    areas = torch.tensor([draw_rectangle(lam, 32, 32, generator).area / 1024 for lam in lams], dtype=torch.float64)
    assert abs(areas.mean() - 0.299) < 4 * areas.std() / math.sqrt(n)
    empty = (2 / 32) ** 2
    assert abs((areas == 0).double().mean() - empty) < 4 * math.sqrt(empty / n)


def watch(method, seeds):
    """What reaches the criterion: the images themselves, as the net does nothing, and the targets."""
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 6, 8)
    seen = []

    def criterion(logits, targets):
        seen.append((logits.view(3, 2, 6, 8), targets))
        return logits.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(3), step)
    return seen


def test_lam_is_the_share_of_pixels_that_stayed():
    for mixed, targets in watch(CutMix(cutmix_prob=1.0), range(40)):
        for sample in range(3):
            shares = torch.tensor([(mixed[sample] == partner).float().mean() for partner in range(3)])
            torch.testing.assert_close(targets[sample], shares)


def test_a_box_is_the_same_for_all_channels_and_samples():
    for mixed, _ in watch(CutMix(cutmix_prob=1.0), range(40)):
        swapped = [mixed[sample] != sample for sample in range(3) if (mixed[sample] != sample).any()]
        assert all(torch.equal(other[channel], swapped[0][0]) for other in swapped for channel in range(2))


def test_cutmix_prob_is_the_share_of_mixed_batches():
    assert all(torch.equal(targets, torch.eye(3)) for _, targets in watch(CutMix(cutmix_prob=0.0), range(40)))
    n = 400
    mixed = sum(not torch.equal(targets, torch.eye(3)) for _, targets in watch(CutMix(cutmix_prob=0.5), range(n)))
    # Of the batches chosen, the identity permutation (1 in 6) and empty boxes (2/6 * 2/8 at least) leave some clean.
    assert 0.3 * n < mixed < 0.45 * n
