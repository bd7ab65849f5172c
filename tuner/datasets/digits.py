"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels that ship with the package."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field

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
        # Importing scikit-learn takes a second, which no other data set should pay.
        from sklearn.datasets import load_digits

        digits = load_digits()
        labels = torch.from_numpy(digits.target).long()
        # The source counts the inked pixels of 4x4 blocks: 0..16.
        images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        indices = torch.cat([order[part] for order in shuffled_classes(labels, seed=0)]).sort().values
        # A copy: nothing that a search holds may lead to the test images.
        return ImageSet(images[indices], labels[indices])
