"""The image operations of AutoAugment's kind, for batches on any device, each image with its own parameter.

They do to `pixels`, float32 whole numbers 0..255 of shape (M,C,H,W), what Pillow does to 8-bit images of mode L or RGB;
torchvision's take one parameter for the whole batch. Parameters have the shape (M,) and lie on the pixels' device."""

import torch
from torch import Tensor
from torch.nn import functional as F


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel to 0..255 (ImageOps.autocontrast); a channel of one value stays."""
    low, high = (edge.double() for edge in (pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)))
    # Pillow's own expression in its own precision (`255 / tensor` would be a product with the reciprocal): cutting to
    # whole numbers turns the last bit into a grey level.
    scale = torch.full_like(low, 255) / (high - low)
    stretched = (pixels * scale + -low * scale).trunc().clamp(0, 255)
    return torch.where(high > low, stretched.to(pixels.dtype), pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Make each channel's histogram as flat as its ties allow (ImageOps.equalize)."""
    values = pixels.flatten(2).long()
    histogram = values.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(values))
    brightest = histogram.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - brightest) // 255
    below = histogram.cumsum(2) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    equalized = table.gather(2, values).view_as(pixels).to(pixels.dtype)
    return torch.where(step.unsqueeze(3) > 0, equalized, pixels)


def posterize(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest 1 to 8 bits of each value (ImageOps.posterize)."""
    unit = _each(2 ** (8 - bits.long()))  # in floats a power may be off by its last bit
    return (pixels / unit).floor() * unit


def solarize(pixels: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from the threshold on (ImageOps.solarize)."""
    return torch.where(pixels < _each(threshold), pixels, 255 - pixels)


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Turn about the centre, counter-clockwise, black outside (Image.rotate, bilinear)."""
    height, width = pixels.shape[2:]
    angle = degrees.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    right = (width - width * cos + height * sin) / 2
    down = (height - width * sin - height * cos) / 2
    return _warp(pixels, (cos, -sin, right), (sin, cos, down))


def shear_x(pixels: Tensor, factor: Tensor) -> Tensor:
    """Shift row y to the left by `factor` * y, black outside (Image.transform, AFFINE, (1, factor, 0, 0, 1, 0))."""
    one, zero = torch.ones_like(factor), torch.zeros_like(factor)
    return _warp(pixels, (one, factor, zero), (zero, one, zero))


def shear_y(pixels: Tensor, factor: Tensor) -> Tensor:
    """Shift column x up by `factor` * x, black outside (Image.transform, AFFINE, (1, 0, 0, factor, 1, 0))."""
    one, zero = torch.ones_like(factor), torch.zeros_like(factor)
    return _warp(pixels, (one, zero, zero), (factor, one, zero))


def translate_x(pixels: Tensor, distance: Tensor) -> Tensor:
    """Shift to the left by `distance` pixels, black outside (Image.transform, AFFINE, (1, 0, distance, 0, 1, 0))."""
    one, zero = torch.ones_like(distance), torch.zeros_like(distance)
    return _warp(pixels, (one, zero, distance), (zero, one, zero))


def translate_y(pixels: Tensor, distance: Tensor) -> Tensor:
    """Shift up by `distance` pixels, black outside (Image.transform, AFFINE, (1, 0, 0, 0, 1, distance))."""
    one, zero = torch.ones_like(distance), torch.zeros_like(distance)
    return _warp(pixels, (one, zero, zero), (zero, one, distance))


Row = tuple[Tensor, Tensor, Tensor]


def _warp(pixels: Tensor, x: Row, y: Row) -> Tensor:
    """Fetch the pixel at (column, row) from column `x[0] * column + x[1] * row + x[2]`, and from a row by `y` alike.

    Places are those of the pixels' centres, in pixels from the upper left corner, as in Image.transform.
    """
    height, width = pixels.shape[2:]
    row, column = (torch.arange(side, device=pixels.device) + 0.5 for side in (height, width))
    # Not by affine_grid: it is a matrix product, which autocast and TF32 would round, by pixels on a large image.
    from_column, from_row = (
        a.view(-1, 1, 1) * column + b.view(-1, 1, 1) * row.view(-1, 1) + c.view(-1, 1, 1) for a, b, c in (x, y)
    )
    inside = (from_column >= 0) & (from_column < width) & (from_row >= 0) & (from_row < height)
    places = torch.stack([2 * from_column / width - 1, 2 * from_row / height - 1], dim=3)
    # As in Pillow, what lies outside is black and darkens no border: grid_sample's own zeros would. It cuts the result
    # to whole numbers, we round: after rounding errors of the places, cutting would darken by a level what only moves.
    moved = F.grid_sample(pixels, places, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.round() * inside.unsqueeze(1)


def _each(parameter: Tensor) -> Tensor:
    return parameter.view(-1, 1, 1, 1)
