"""Images that fit in memory: uint8 tensors, cropped and flipped image by image on the device that holds them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from tuner.datasets.base import Data, Dataset, Images, Statistics
from tuner.datasets.batches import Batch, Batches

CHUNK = 4096
"""Images that are read at a time where all of them are looked at."""


@dataclass(frozen=True, eq=False)
class ImageSet(Images):
    """Images uint8 (P,C,H,W), perhaps memory-mapped, of which `rows` int64 (N,) are meant: all of them if None.

    A subset is only its rows, so that all processes of a machine share the pages of one file. Labels are int64 (N,).
    """

    source: Tensor
    labels: Tensor
    rows: Tensor | None = None

    def __post_init__(self):
        source, labels = self.source, self.labels
        if source.dtype != torch.uint8 or source.ndim != 4:
            raise ValueError(f"images must be uint8 (N,C,H,W), got {source.dtype} {tuple(source.shape)}")
        count = len(source) if self.rows is None else len(self.rows)
        if labels.dtype != torch.int64 or labels.shape != (count,):
            raise ValueError(
                f"labels must be int64 ({count},), one for each image, got {labels.dtype} {tuple(labels.shape)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.source.shape[1:])

    @property
    def images(self) -> Tensor:
        """All images (N,C,H,W); of a subset, a copy."""
        return self.source if self.rows is None else self.source[self.rows]

    def pixels(self, indices: Tensor | slice) -> Tensor:
        """The images at `indices` of this set, uint8 (M,C,H,W)."""
        return self.source[indices] if self.rows is None else self.source[self.rows[indices]]

    def take(self, indices: Tensor) -> "ImageSet":
        return ImageSet(self.source, self.labels[indices], indices if self.rows is None else self.rows[indices])

    def to(self, device: torch.device | str) -> "ImageSet":
        if torch.device(device) == self.source.device:
            return self
        return ImageSet(self.images.to(device), self.labels.to(device))

    def digest(self) -> str:
        """SHA-256 (hex) of the shape, every pixel and every label."""
        sha = hashlib.sha256(repr((len(self), *self.shape)).encode())
        for chunk in self._chunks():
            sha.update(chunk.cpu().contiguous().numpy())
        sha.update(self.labels.cpu().contiguous().numpy())
        return sha.hexdigest()

    def statistics(self) -> Statistics:
        """Mean and population standard deviation of each channel, on the [0,1] scale.

        A constant channel has standard deviation 1: it tells nothing either way, and normalising stays finite.
        """
        # Pixels have 256 values: counting them is exact, and needs no float copy of a set that fills the memory.
        counts = sum(
            torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in chunk.unbind(1)])
            for chunk in self._chunks()
        )
        share = counts.double().cpu() / counts.sum(1, keepdim=True).cpu()
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = share @ values
        std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
        std[(share == 1).any(1)] = 1.0
        return tuple(mean.tolist()), tuple(std.tolist())

    def batches(self, data: Data, batch_size: int, train: bool) -> "TensorBatches":
        return TensorBatches(self, data, batch_size, train)

    def _chunks(self) -> Iterator[Tensor]:
        return (self.pixels(slice(start, start + CHUNK)) for start in range(0, len(self), CHUNK))


@dataclass(frozen=True)
class CropAndFlip:
    """A random crop of the image in a black border of `padding` pixels; with `flip`, half of them mirrored."""

    padding: int
    flip: bool


class TensorDataset(Dataset):
    """A data set whose images fit in memory, with the augmentation that goes with small ones."""

    crop_padding: int | None = Field(
        None,
        ge=0,
        description="black border of the random crop, in pixels; none: an eighth of the shorter side (4 at 32)",
    )
    flip: bool = Field(True, description="mirror half of the training images left to right")

    def augmentation(self, shape: tuple[int, int, int]) -> CropAndFlip:
        padding = min(shape[1:]) // 8 if self.crop_padding is None else self.crop_padding
        return CropAndFlip(padding, self.flip)


class TensorBatches(Batches):
    """Batches of an image set, on its device.

    In training each image of an epoch draws its own crop, uniform over the (2p+1)^2 offsets, and its own flip: what
    torchvision's RandomCrop(padding=p) and RandomHorizontalFlip do to single images.
    """

    def __init__(self, image_set: ImageSet, data: Data, batch_size: int, train: bool):
        # Where training fits, four times the batch does too without the activations that a backward pass would need.
        super().__init__(len(image_set), batch_size if train else 4 * batch_size, train)
        self.image_set = image_set
        self.augmentation: CropAndFlip = data.augmentation
        self.mean, self.std = (
            255 * torch.tensor(channels, device=image_set.source.device).view(-1, 1, 1)
            for channels in (data.mean, data.std)
        )

    def _in_order(self, slices: Sequence[slice]) -> Iterator[Batch]:
        for batch in slices:
            yield self._normalised(self.image_set.pixels(batch)), self.image_set.labels[batch]

    def _shuffled(self, slices: Sequence[slice], generator: torch.Generator) -> Iterator[Batch]:
        count, padding = len(self.image_set), self.augmentation.padding
        order, down, right, mirrored = (
            draw.to(self.image_set.source.device)
            for draw in (
                torch.randperm(count, generator=generator),
                *torch.randint(2 * padding + 1, (2, count), generator=generator),
                torch.randint(2, (count, 1, 1, 1), generator=generator, dtype=torch.bool),
            )
        )
        for batch in slices:
            chosen = order[batch]
            images = crop(self.image_set.pixels(chosen), padding, down[batch], right[batch])
            if self.augmentation.flip:
                images = torch.where(mirrored[batch], images.flip(-1), images)
            yield self._normalised(images), self.image_set.labels[chosen]

    def _normalised(self, images: Tensor) -> Tensor:
        return images.to(torch.float32).sub_(self.mean).div_(self.std)


def crop(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    """Images (B,C,H,W) of the same size from within a black border, each at its own offset: int64 (B,), 0..2p."""
    height, width = images.shape[2:]
    bordered = F.pad(images, (padding, padding, padding, padding))
    windows = bordered.unfold(2, height, 1).unfold(3, width, 1)  # a view (B,C,2p+1,2p+1,H,W)
    return windows[torch.arange(len(images), device=images.device), :, down, right]
