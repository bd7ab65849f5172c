"""The image operations by hand on a 4x4 image, and against Pillow's on small real ones."""

import pytest
import torch
from PIL import Image, ImageOps

from tuner.regularizers.image_operations import (
    autocontrast,
    equalize,
    posterize,
    rotate,
    shear_x,
    shear_y,
    solarize,
    translate_x,
    translate_y,
)

RAMP = torch.arange(16.0).view(1, 1, 4, 4) * 16  # 0, 16, ..., 240


def one(value):
    return torch.tensor([float(value)])


def test_golden_point_operations():
    assert posterize(RAMP, one(1)).flatten().tolist() == [0] * 8 + [128] * 8
    assert posterize(RAMP + 15, one(3)).unique().tolist() == [0, 32, 64, 96, 128, 160, 192, 224]
    assert solarize(RAMP, one(32)).flatten().tolist() == [0, 16, *range(223, 0, -16)]
    assert autocontrast(RAMP).flatten().tolist() == list(range(0, 256, 17))
    # With fewer than 255 pixels below the brightest value there is no step of one, and nothing changes.
    assert torch.equal(equalize(RAMP), RAMP)
    # 256 pixels of each of 4 values: a step is 3 * 256 // 255 = 3 pixels, and value k becomes (3 // 2 + 256 * k) // 3.
    assert equalize((RAMP // 64).repeat(1, 1, 8, 8)).unique().tolist() == [0, 85, 171, 255]


def test_golden_moves():
    left = [[16, 32, 48, 0], [80, 96, 112, 0], [144, 160, 176, 0], [208, 224, 240, 0]]
    assert translate_x(RAMP, one(1))[0, 0].tolist() == left
    assert translate_y(RAMP, one(-3))[0, 0].tolist() == [[0] * 4] * 3 + [[0, 16, 32, 48]]
    counter_clockwise = [[48, 112, 176, 240], [32, 96, 160, 224], [16, 80, 144, 208], [0, 64, 128, 192]]
    assert rotate(RAMP, one(90))[0, 0].tolist() == counter_clockwise
    # The row whose centre is at 0.5 comes from 0.5 further right, which blends two pixels; the next one from 1.5.
    sheared = [[8, 24, 40, 0], [88, 104, 0, 0], [168, 0, 0, 0], [0, 0, 0, 0]]
    assert shear_x(RAMP, one(1))[0, 0].tolist() == sheared
    assert shear_y(RAMP.mT, one(1))[0, 0].mT.tolist() == sheared


def affine(image, *coefficients):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR)


POINTWISE = {
    "autocontrast": (lambda pixels, _: autocontrast(pixels), lambda image, _: ImageOps.autocontrast(image), [0] * 4),
    "equalize": (lambda pixels, _: equalize(pixels), lambda image, _: ImageOps.equalize(image), [0] * 4),
    "posterize": (posterize, ImageOps.posterize, [1, 3, 4, 8]),
    "solarize": (solarize, ImageOps.solarize, [0, 100, 179, 256]),
}
MOVES = {
    "rotate": (rotate, lambda image, angle: image.rotate(angle, Image.Resampling.BILINEAR), [-30, -1, 8, 29]),
    "shear_x": (shear_x, lambda image, factor: affine(image, 1, factor, 0, 0, 1, 0), [-0.3, -0.05, 0.09, 0.27]),
    "shear_y": (shear_y, lambda image, factor: affine(image, 1, 0, 0, factor, 1, 0), [-0.3, -0.05, 0.09, 0.27]),
    "translate_x": (translate_x, lambda image, by: affine(image, 1, 0, by, 0, 1, 0), [-3, 0, 1, 2]),
    "translate_y": (translate_y, lambda image, by: affine(image, 1, 0, 0, 0, 1, by), [-3, 0, 1, 2]),
}
SHAPES = pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20), (3, 32, 32)], ids=str)


def four_images(shape):
    """Uniform noise, low contrast, a few values (a channel of one value among them), smooth: uint8 (4,C,H,W)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, shape, generator=generator)
    dull = torch.randint(90, 131, shape, generator=generator)
    coarse = torch.randint(3, shape, generator=generator) * 40
    coarse[0] = 77
    row, column = torch.arange(shape[1]).view(-1, 1), torch.arange(shape[2])
    smooth = (row * column * 255 // (row.max() * column.max())).expand(shape)
    return torch.stack([noise, dull, coarse, smooth]).to(torch.uint8)


def as_pillow_does(operation, images, parameters):
    done = []
    for image, parameter in zip(images, parameters, strict=True):
        rows = image.permute(1, 2, 0).squeeze(2)  # grey ones have mode L
        result = operation(Image.fromarray(rows.numpy()), parameter)
        done.append(torch.frombuffer(bytearray(result.tobytes()), dtype=torch.uint8).view(*image.shape[1:], -1))
    return torch.stack(done).permute(0, 3, 1, 2).float()


@SHAPES
@pytest.mark.parametrize("name", POINTWISE)
def test_point_operations_are_pillows_exactly_each_image_with_its_own_parameter(name, shape):
    ours, theirs, parameters = POINTWISE[name]
    images = four_images(shape)
    done = ours(images.float(), torch.tensor(parameters).float())
    assert torch.equal(done, as_pillow_does(theirs, images, parameters))
    assert torch.equal(images, four_images(shape))


@SHAPES
@pytest.mark.parametrize("name", MOVES)
def test_moves_are_pillows_to_a_level_each_image_with_its_own_parameter(name, shape):
    ours, theirs, parameters = MOVES[name]
    images = four_images(shape)
    done, expected = ours(images.float(), torch.tensor(parameters).float()), as_pillow_does(theirs, images, parameters)
    assert torch.equal(done, done.round())
    assert (done - expected).abs().max() <= (0 if "translate" in name else 1)


def test_autocontrast_cuts_to_whole_numbers_where_pillow_does():
    """A range's upper end may come out as 254.99...: Pillow makes it 254, and where it does depends on the last bit."""
    low, high = torch.triu_indices(256, 256, offset=1)[:, ::50].unsqueeze(2)
    images = torch.arange(256).clamp(low, high).view(-1, 1, 16, 16)
    theirs = as_pillow_does(lambda image, _: ImageOps.autocontrast(image), images.byte(), images)
    assert torch.equal(autocontrast(images.float()), theirs)
