"""ImageNet (Russakovsky et al., IJCV 2015), streamed from its files."""

import os
from typing import ClassVar, Literal, final

import numpy as np
import torch
from pydantic import Field

from tuner.datasets.base import Dataset, Images, Statistics
from tuner.datasets.folder import class_folders, list_images, same_classes
from tuner.datasets.image_files import CropAndColor, ImageFiles
from tuner.datasets.root import Root
from tuner.paper import Paper

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the papers' codes normalise with, as clovaai/CutMix-PyTorch, train.py."""


@final
class ImageNet(Dataset):
    """ImageNet (ILSVRC 2012): 1,281,167 images to train, the 50,000 of val/ to test; 1,000 classes, 224 pixels.

    A tree root/{train,val}/<wnid>/<image>.JPEG, read as torchvision's ImageFolder reads it. Augmented and evaluated as
    in CutMix's protocol, which PatchUp's follows; images are decoded while the net trains and never held.
    """

    name: Literal["imagenet"] = "imagenet"
    paper: ClassVar[Paper | None] = Paper(
        title="ImageNet Large Scale Visual Recognition Challenge",
        authors="Russakovsky et al.",
        venue="IJCV 2015",
        url="https://arxiv.org/abs/1409.0575",
    )

    without_effect: ClassVar[frozenset[str]] = frozenset({"workers"})

    root: Root = Field(description="the folder that holds train/ and val/")
    image_size: int = Field(
        224, ge=1, description="side of the square that the net gets, in pixels (clovaai/CutMix-PyTorch, train.py: 224)"
    )
    workers: int = Field(
        4,
        ge=0,
        description="processes that decode, for each trial; resources.cpu should be as many. 0: the training process "
        "decodes, and the device waits (clovaai/CutMix-PyTorch, train.py: 4)",
    )
    flip: bool = Field(
        True, description="mirror half of the training images left to right (clovaai/CutMix-PyTorch, train.py)"
    )
    color_jitter: float = Field(
        0.4,
        ge=0,
        le=1,
        description="brightness, contrast and saturation change by a factor from 1 - x to 1 + x "
        "(clovaai/CutMix-PyTorch, train.py: 0.4)",
    )
    lighting: float = Field(
        0.1,
        ge=0,
        description="standard deviation of the noise along the principal components of colour, no unit "
        "(Krizhevsky et al., NeurIPS 2012, section 4.1: 0.1)",
    )

    def at_hand(self) -> bool:
        return False

    def class_names(self) -> tuple[str, ...]:
        """The WordNet ids that the folders of train/ are called; reads no image, and nothing of val/."""
        return class_folders(self.root, "train", self._layout())

    def training_pool(self) -> ImageFiles:
        return self._files("train")

    def test_set(self) -> ImageFiles:
        """The images of val/. Raises ValueError where its classes are not those of train/."""
        same_classes(self.root, "train", "val", self._layout())
        return self._files("val")

    def augmentation(self, shape: tuple[int, int, int]) -> CropAndColor:
        return CropAndColor(self.flip, self.color_jitter, self.lighting)

    def statistics(self, pool: Images) -> Statistics:
        return MEAN, STD

    def _layout(self) -> str:
        return (
            f"{self.root}/train/<wnid>/<image>.JPEG and {self.root}/val/<wnid>/<image>.JPEG. The licence forbids to "
            "hand ImageNet on: after login, image-net.org gives ILSVRC2012_img_train.tar, which holds one tar file for "
            "each class, and ILSVRC2012_img_val.tar, whose images must be sorted into folders by class"
        )

    def _files(self, part: str) -> ImageFiles:
        folder = f"{self.root}/{part}"
        # Class by class, so that a million paths are never Python strings at once.
        names = [
            np.array([os.fsencode(path.removeprefix(f"{folder}/")) for path in list_images(f"{folder}/{class_name}")])
            for class_name in class_folders(self.root, part, self._layout())
        ]
        labels = torch.repeat_interleave(torch.tensor([len(class_names) for class_names in names]))
        return ImageFiles(folder, np.concatenate(names), labels, self.image_size, self.workers)
