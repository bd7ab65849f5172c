"""What a data set is: uint8 images with labels (`ImageSet`), what one run trains and measures on (`Data`), and the
settings that lead there (`Dataset`)."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images uint8 (N,C,H,W) and their labels int64 (N,), both on one device."""

    images: Tensor
    labels: Tensor

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 (N,C,H,W), got {images.dtype} {tuple(images.shape)}")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels must be int64 ({len(images)},), one for each image, got {labels.dtype} {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "ImageSet":
        return ImageSet(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` int64 (M,), in that order, as a copy."""
        return ImageSet(self.images[indices], self.labels[indices])

    def digest(self) -> str:
        """SHA-256 (hex) of the shape, every pixel and every label."""
        sha = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for array in (self.images, self.labels):
            sha.update(array.cpu().contiguous().numpy())
        return sha.hexdigest()

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and population standard deviation of each channel, on the [0,1] scale.

        A constant channel has standard deviation 1: it tells nothing either way, and normalising stays finite.
        """
        # Pixels have 256 values: counting them is exact, and needs no float copy of a set that fills the memory.
        counts = torch.stack(
            [
                sum(torch.bincount(chunk.flatten(), minlength=256) for chunk in channel.split(1024))
                for channel in self.images.unbind(1)
            ]
        )
        share = counts.double().cpu() / counts.sum(1, keepdim=True).cpu()
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = share @ values
        std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
        std[(share == 1).any(1)] = 1.0
        return tuple(mean.tolist()), tuple(std.tolist())


@dataclass(frozen=True, eq=False)
class Data:
    """All that one run sees: its image sets, and how their images are normalised and augmented.

    `mean` and `std` are per channel on the [0,1] scale; `crop_padding` is in pixels. A search run has no `test`, a run
    on the whole training pool no `validation`.
    """

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet | None
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool

    def __post_init__(self):
        shapes = {part: tuple(image_set.images.shape[1:]) for part, image_set in self._parts().items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"all images of a run must have one shape (C,H,W), got {shapes}; resize one of the parts")

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def height(self) -> int:
        return self.train.images.shape[2]

    @property
    def width(self) -> int:
        return self.train.images.shape[3]

    def to(self, device: torch.device | str) -> "Data":
        return replace(self, **{part: image_set.to(device) for part, image_set in self._parts().items()})

    def _parts(self) -> dict[str, ImageSet]:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: image_set for part, image_set in parts.items() if image_set is not None}


class Dataset(BaseModel, ABC):
    """Settings of a data set: a training pool, from which a split takes train and validation images, and a test set.

    Reading one part never reads the other, so that a search cannot see the test set even by accident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    crop_padding: int | None = Field(
        None,
        ge=0,
        description="black border of the random crop, in pixels; none: an eighth of the shorter side (4 at 32)",
    )
    flip: bool = Field(True, description="mirror half of the training images left to right")

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The name of each label 0..K-1."""

    @abstractmethod
    def training_pool(self) -> ImageSet:
        """Every image that may be trained or validated on."""

    @abstractmethod
    def test_set(self) -> ImageSet:
        """The images that only a final run may read."""

    def classes(self) -> int:
        return len(self.class_names())
