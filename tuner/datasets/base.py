"""What a data set is: labelled images (`Images`), what one run trains and measures on (`Data`), and the settings that
lead there (`Dataset`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from tuner.datasets.batches import Batches
from tuner.paper import Paper

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, on the [0,1] scale."""


class Images(ABC):
    """Labelled images of one shape, in memory or on disk: `labels` is int64 (N,), `shape` is (C,H,W)."""

    labels: Tensor

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C,H,W) of every image as the net gets it."""

    @abstractmethod
    def take(self, indices: Tensor) -> Self:
        """The images at `indices` int64 (M,), in that order; no pixel is copied."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same images, whose batches come on that device."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex): another one wherever an image or a label differs."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """What the pixels really have; a population's standard deviation."""

    @abstractmethod
    def batches(self, data: "Data", batch_size: int, train: bool) -> Batches:
        """These images as part of `data`, which says how they are normalised and augmented."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Data:
    """All that one run sees: its images, and how they are normalised and augmented.

    `mean` and `std` are per channel on the [0,1] scale; `augmentation` is what the images' own `batches` understand. A
    search run has no `test`, a run on the whole training pool no `validation`.
    """

    train: Images
    validation: Images | None
    test: Images | None
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Any

    def __post_init__(self):
        shapes = {part: images.shape for part, images in self._parts().items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"all images of a run must have one shape (C,H,W), got {shapes}; resize one of the parts")

    @property
    def channels(self) -> int:
        return self.train.shape[0]

    @property
    def height(self) -> int:
        return self.train.shape[1]

    @property
    def width(self) -> int:
        return self.train.shape[2]

    def to(self, device: torch.device | str) -> "Data":
        return replace(self, **{part: images.to(device) for part, images in self._parts().items()})

    def _parts(self) -> dict[str, Images]:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: images for part, images in parts.items() if images is not None}


class Dataset(BaseModel, ABC):
    """Settings of a data set: a training pool, from which a split takes train and validation images, and a test set.

    Reading one part never reads the other, so that a search cannot see the test set even by accident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    paper: ClassVar[Paper | None] = None
    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Settings that no result depends on: a campaign may go on with other ones."""

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The name of each label 0..K-1."""

    @abstractmethod
    def training_pool(self) -> Images:
        """Every image that may be trained or validated on."""

    @abstractmethod
    def test_set(self) -> Images:
        """The images that only a final run may read."""

    @abstractmethod
    def augmentation(self, shape: tuple[int, int, int]) -> Any:
        """How training images (C,H,W) are augmented."""

    def at_hand(self) -> bool:
        """Whether the training pool opens in seconds: without a download, or a walk over a million files."""
        return True

    def statistics(self, pool: Images) -> Statistics:
        """What images are normalised with. The pool's own, whatever a split takes of it, where nobody published any."""
        return pool.statistics()

    def classes(self) -> int:
        return len(self.class_names())
