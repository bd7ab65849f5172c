"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels that ship with the package."""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tuner.datasets.image_set import ImageSet, TensorDataset
from tuner.datasets.split import shuffled_classes
from tuner.paper import Paper


@final
class Digits(TensorDataset):
    """Handwritten digits: 1,797 images, few of them to train and all others to test; 10 classes, 8 pixels.

    A low-data regime on what scikit-learn ships: the source's test part, which comes without a test set of its own.
    Which images are the pool depends on `pool_per_class` alone, never on a split.
    """

    name: Literal["digits"] = "digits"
    paper: ClassVar[Paper | None] = Paper(
        title="Optical Recognition of Handwritten Digits",
        authors="Alpaydin and Kaynak",
        venue="UCI Machine Learning Repository 1998",
        url="https://doi.org/10.24432/C50P49",
    )

    crop_padding: int = Field(1, ge=0, description="black border of the random crop, in pixels")
    flip: bool = Field(False, description="mirror half of the training images left to right (a mirrored 2 is none)")
    pool_per_class: int = Field(
        40, ge=2, le=173, description="images of each class in the training pool; the smallest class has 174"
    )

    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def training_pool(self) -> ImageSet:
        return self._part(slice(None, self.pool_per_class))

    def test_set(self) -> ImageSet:
        return self._part(slice(self.pool_per_class, None))

    def _part(self, part: slice) -> ImageSet:
        pixels, labels = _source()
        # The source counts the inked pixels of 4x4 blocks: 0..16.
        images = (pixels * (255 / 16)).round().to(torch.uint8)
        indices = torch.cat([order[part] for order in shuffled_classes(labels, seed=0)]).sort().values
        # A copy: nothing that a search holds may lead to the test images.
        return ImageSet(images[indices], labels[indices])


def _source() -> tuple[Tensor, Tensor]:
    """Pixels in 0..16 of all images, float64 (1797,1,8,8), and labels, int64: what scikit-learn's `load_digits` gives.

    The file is read here because that function imports all of scikit-learn first: a second in every process.
    """
    folder = Path(find_spec("sklearn").origin).parent  # found without being imported
    table = torch.from_numpy(np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=","))
    return table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].long()
