"""Street View House Numbers (Netzer et al., 2011), cropped digits."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field

from tuner.datasets.base import Images, Statistics
from tuner.datasets.image_set import ImageSet
from tuner.datasets.torchvision_dataset import Part, TorchvisionDataset
from tuner.paper import Paper


@final
class SVHN(TorchvisionDataset):
    """SVHN, cropped digits: 73,257 images to train (none of the extra ones), 26,032 to test; 10 classes, 32 pixels.

    Pixels are normalised to -1..1, as in chandar-lab/PatchUp, data_loader.py.
    """

    name: Literal["svhn"] = "svhn"
    paper: ClassVar[Paper | None] = Paper(
        title="Reading Digits in Natural Images with Unsupervised Feature Learning",
        authors="Netzer et al.",
        venue="NeurIPS Workshop on Deep Learning and Unsupervised Feature Learning 2011",
        url="http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf",
    )

    flip: bool = Field(
        False,
        description="mirror half of the training images left to right (a mirrored 2 is none; not done in "
        "chandar-lab/PatchUp, data_loader.py)",
    )

    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def statistics(self, pool: Images) -> Statistics:
        return (0.5,) * 3, (0.5,) * 3

    def _files(self, part: Part) -> tuple[str, ...]:
        return (f"{part}_32x32.mat",)

    def _by_hand(self, part: Part) -> str:
        from torchvision import datasets

        return f"put {datasets.SVHN.split_list[part][0]} there"

    def _decode(self, part: Part, root: str, download: bool) -> ImageSet:
        from torchvision import datasets

        source = datasets.SVHN(root, split=part, download=download)
        return ImageSet(torch.from_numpy(source.data).contiguous(), torch.from_numpy(source.labels))
