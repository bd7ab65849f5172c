"""Cutout by hand on a 4x4 image, and the law of its squares."""

import math

import pytest
import torch
from pydantic import ValidationError

from tuner.regularizers import Step
from tuner.regularizers.cutout import Cutout, cutout, draw_centres


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blanked(method, shape, seed=0):
    """Which pixels of images of this shape one batch loses."""
    images, targets = torch.ones(shape), torch.eye(shape[0])
    step = Step(None, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
    mixed, mixed_targets = method.mix(images, targets, step)
    assert torch.equal(mixed_targets, targets)
    assert torch.equal(images, torch.ones(shape))
    assert set(mixed.unique().tolist()) <= {0.0, 1.0}
    return mixed == 0


def test_golden():
    images = torch.arange(1.0, 33.0).view(2, 1, 4, 4)
    before = images.clone()
    mixed = cutout(images, torch.tensor([[[1, 2]], [[3, 0]]]), rows=2, columns=2)
    assert mixed[0, 0].tolist() == [[1, 0, 0, 4], [5, 0, 0, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    # Half of the second image's hole sticks out at the left, and is lost.
    assert mixed[1, 0].tolist() == [[17, 18, 19, 20], [21, 22, 23, 24], [0, 26, 27, 28], [0, 30, 31, 32]]
    assert torch.equal(images, before)


def test_odd_sides_and_two_holes_by_hand():
    images = torch.ones(1, 2, 4, 5)
    mixed = cutout(images, torch.tensor([[[0, 0], [2, 3]]]), rows=3, columns=3)
    for channel in range(2):
        assert mixed[0, channel].tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_images_stay_so(dtype):
    images = torch.randn(2, 3, 4, 4, generator=seeded()).to(dtype)
    assert cutout(images, torch.zeros(2, 1, 2, dtype=torch.int64), 2, 2).dtype == dtype


@pytest.mark.parametrize(("length", "area"), [(8, 0.055), (16, 0.191), (20, 0.278)])
def test_mean_area_on_32_pixels(length, area):
    each = blanked(Cutout(length=length), (4000, 1, 32, 32)).float().mean((1, 2, 3))
    assert abs(each.mean() - area) < 4 * each.std() / math.sqrt(4000) + 6e-4  # and the rounding of the expected value


def test_each_image_has_its_own_rectangle_in_all_of_its_channels():
    holes = blanked(Cutout(), (50, 3, 32, 48))
    for hole in holes:
        rows, columns = hole[0].any(1), hole[0].any(0)
        assert torch.equal(hole, (rows[:, None] & columns).expand(3, 32, 48))
        assert 8 <= rows.sum() <= 16
        assert 12 <= columns.sum() <= 24  # the square of a 32 x 32 image grows with either side
        assert all(edge.nonzero().diff(dim=0).eq(1).all() for edge in (rows, columns))
    assert len({tuple(hole[0].flatten().tolist()) for hole in holes}) > 40


def test_centres_are_uniform_over_all_pixels():
    centres = draw_centres(torch.empty(6000, 1, 3, 4), n_holes=2, generator=seeded())
    assert centres.shape == (6000, 2, 2)
    assert centres.dtype == torch.int64
    counts = (centres[..., 0] * 4 + centres[..., 1]).flatten().bincount(minlength=12) / 12000
    assert (counts - 1 / 12).abs().max() < 4 * math.sqrt(11 / 144 / 12000)


def test_n_holes_blanks_more():
    one, three = (blanked(Cutout(n_holes=n, length=4), (500, 1, 32, 32)).float().mean() for n in (1, 3))
    assert 2.7 < three / one < 3


@pytest.mark.parametrize(("side", "scaled", "pixels"), [(8, True, 4), (28, True, 14), (64, True, 32), (64, False, 16)])
def test_length_is_in_pixels_of_32_where_it_is_scaled(side, scaled, pixels):
    holes = blanked(Cutout(length=16, scale_length=scaled), (300, 1, side, side))
    assert holes.sum((2, 3)).max() == pixels**2


def test_twice_the_side_blanks_the_image_and_is_a_misfit():
    assert blanked(Cutout(length=16, scale_length=False), (200, 1, 8, 8)).all()
    for sides, fits, blanks in [([(8, 8)], 14, 15), ([(8, 10)], 18, 19), ([(8, 10), (4, 4)], 18, 19)]:
        assert Cutout(length=fits, scale_length=False).misfits(sides) == []
        assert not blanked(Cutout(length=fits, scale_length=False), (500, 1, *sides[0])).all()
        [(field, sentence)] = Cutout(length=blanks, scale_length=False).misfits(sides)
        assert field == "length"
        assert f"{blanks} x {blanks}" in sentence
        assert f"every 8 x {sides[0][1]} image" in sentence
    for side in (8, 32, 224):
        assert Cutout(length=24).misfits([(side, side)]) == []
    assert [field for field, _ in Cutout(length=64).misfits([(8, 8)])] == ["length"]


@pytest.mark.parametrize("wrong", [{"length": 0}, {"n_holes": 0}])
def test_illegal_values_are_refused(wrong):
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Cutout(**wrong)
