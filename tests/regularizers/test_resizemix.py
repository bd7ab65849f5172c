"""ResizeMix by hand on a 4x4 image, against Pillow's resize, and the law of its box."""

import math

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from tuner.regularizers import Step
from tuner.regularizers.rectangle import Rectangle
from tuner.regularizers.resizemix import ResizeMix, draw_box, resizemix


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_golden():
    images = torch.stack([torch.zeros(1, 4, 4), torch.tensor([7.0, 7, 0, 0]).expand(1, 4, 4)])
    before = images.clone()
    mixed, targets = resizemix(images, torch.eye(2), torch.tensor([1, 0]), Rectangle(top=1, bottom=3, left=2, right=4))
    # Halved, a pixel sees its own two old ones three times as much as the next: (3 * 7 + 3 * 7 + 0) / 7 and 7 / 7.
    expected = torch.tensor([[0, 0, 0, 0], [0, 0, 6, 1], [0, 0, 6, 1], [0, 0, 0, 0.0]])
    torch.testing.assert_close(mixed[0, 0], expected)
    assert mixed[1, 0].tolist() == [[7, 7, 0, 0], [7, 7, 0, 0], [7, 7, 0, 0], [7, 7, 0, 0]]
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert torch.equal(images, before)


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (3, 5), (6, 10), (12, 20)])
def test_the_whole_partner_of_any_shape_is_resized_as_pillow_does(rows, columns):
    image = torch.randint(256, (12, 20), dtype=torch.uint8, generator=seeded())
    images = torch.stack([torch.zeros(1, 12, 20), image.float().unsqueeze(0)])
    box = Rectangle(top=0, bottom=rows, left=20 - columns, right=20)
    mixed, targets = resizemix(images, torch.eye(2), torch.tensor([1, 0]), box)
    resized = Image.fromarray(image.numpy()).resize((columns, rows), Image.Resampling.BILINEAR)
    pasted = torch.tensor(list(resized.tobytes())).view(rows, columns)
    assert (mixed[0, 0, :rows, 20 - columns :] - pasted).abs().max() <= 1  # Pillow rounds, once for each direction
    assert targets[0, 1].item() == pytest.approx(rows * columns / 240, rel=1e-5)


@pytest.mark.parametrize(
    ("scale", "height", "width", "sides"),
    [(0.5, 8, 16, (4, 8)), (0.3, 32, 32, (9, 9)), (0.1, 8, 8, (1, 1)), (0.1, 8, 28, (1, 2)), (1.0, 5, 7, (5, 7))],
)
def test_a_box_has_its_share_of_each_side_and_at_least_a_pixel(scale, height, width, sides):
    box = draw_box(scale, height, width, seeded())
    assert (box.bottom - box.top, box.right - box.left) == sides


def test_every_place_inside_is_equally_likely():
    generator, n = seeded(), 3000
    boxes = [draw_box(0.5, 4, 6, generator) for _ in range(n)]
    assert {(box.top, box.bottom) for box in boxes} == {(0, 2), (1, 3), (2, 4)}
    assert {(box.left, box.right) for box in boxes} == {(0, 3), (1, 4), (2, 5), (3, 6)}
    for top in range(3):
        for left in range(4):
            share = sum((box.top, box.left) == (top, left) for box in boxes) / n
            assert abs(share - 1 / 12) < 4 * math.sqrt(1 / 12 / n)


def watch(method, side, seeds):
    """What reaches the criterion: the images themselves, as the net does nothing, and the targets."""
    images, seen = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, side, side), []

    def criterion(logits, targets):
        seen.append((logits.view_as(images), targets))
        return logits.sum()

    for seed in seeds:
        step = Step(criterion, seeded(seed), progress=0.0, mean=(0.0,), std=(1.0,))
        method.loss(nn.Sequential(nn.Flatten()), images, torch.eye(3), step)
    return seen


@pytest.mark.parametrize("side", [8, 32])
def test_lam_is_the_share_of_pixels_that_stayed(side):
    for mixed, targets in watch(ResizeMix(), side, range(40)):
        for sample in range(3):
            shares = torch.tensor([((mixed[sample] - partner).abs() < 1e-5).float().mean() for partner in range(3)])
            torch.testing.assert_close(targets[sample], shares)


def test_the_scale_is_uniform_between_its_bounds():
    seen = watch(ResizeMix(scale_min=0.25, scale_max=0.75), 32, range(600))
    sides = torch.stack([(1 - targets.diagonal().amin()).sqrt() for _, targets in seen])
    sides = sides[sides > 0]  # an identity permutation hides its box
    assert sides.min() >= 0.25 - 1e-6
    assert sides.max() <= 0.75
    # Cut to whole pixels: of 16 equally likely sides from 8 to 23.
    assert abs(sides.mean() - 15.5 / 32) < 4 * sides.std() / math.sqrt(len(sides))
    assert abs(sides.std() - math.sqrt((16**2 - 1) / 12) / 32) < 0.01


def test_bounds_out_of_order_are_refused_and_equal_ones_fix_the_scale():
    with pytest.raises(ValidationError, match=r"scale_min must be at most scale_max, got 0.6 and 0.5; exchange them"):
        ResizeMix(scale_min=0.6, scale_max=0.5)
    for _, targets in watch(ResizeMix(scale_min=0.5, scale_max=0.5), 8, range(10)):
        assert set(targets.diagonal().tolist()) <= {0.75, 1.0}
