"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009)."""

from typing import ClassVar, Literal, final

import torch

from tuner.datasets.base import Images, Statistics
from tuner.datasets.image_set import ImageSet
from tuner.datasets.torchvision_dataset import Part, TorchvisionDataset
from tuner.paper import Paper


class CIFAR(TorchvisionDataset):
    """What the two have in common: one archive of pickled batches, each batch of one part."""

    paper: ClassVar[Paper | None] = Paper(
        title="Learning Multiple Layers of Features from Tiny Images",
        authors="Krizhevsky",
        venue="University of Toronto 2009",
        url="https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    )
    torchvision_name: ClassVar[str]
    batches: ClassVar[dict[Part, tuple[str, ...]]]
    published: ClassVar[Statistics]

    def statistics(self, pool: Images) -> Statistics:
        return self.published

    def _files(self, part: Part) -> tuple[str, ...]:
        return self.batches[part]

    def _by_hand(self, part: Part) -> str:
        from torchvision import datasets

        return f"unpack {getattr(datasets, self.torchvision_name).url} there"

    def _decode(self, part: Part, root: str, download: bool) -> ImageSet:
        from torchvision import datasets

        train = part == "train"
        whole = getattr(datasets, self.torchvision_name)
        # To open one part torchvision verifies both: without a list of the other's files it does not read them.
        half = type(whole.__name__, (whole,), {"test_list" if train else "train_list": []})
        source = half(root, train=train, download=download)
        images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        return ImageSet(images, torch.tensor(source.targets))


@final
class CIFAR10(CIFAR):
    """CIFAR-10: 50,000 images to train and 10,000 to test; 10 classes, 32 pixels.

    Normalised with the statistics of chandar-lab/PatchUp, data_loader.py.
    """

    name: Literal["cifar10"] = "cifar10"
    torchvision_name: ClassVar[str] = "CIFAR10"
    batches: ClassVar[dict[Part, tuple[str, ...]]] = {
        "train": (
            "cifar-10-batches-py/batches.meta",
            *(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
        ),
        "test": ("cifar-10-batches-py/batches.meta", "cifar-10-batches-py/test_batch"),
    }
    published: ClassVar[Statistics] = (
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    )

    def class_names(self) -> tuple[str, ...]:
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


# A constant, although the archive names them too: there they are pickled, and every worker asks for them.
FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


@final
class CIFAR100(CIFAR):
    """CIFAR-100: 50,000 images to train and 10,000 to test; 100 classes (the fine labels), 32 pixels.

    Normalised with the statistics of chandar-lab/PatchUp, data_loader.py.
    """

    name: Literal["cifar100"] = "cifar100"
    torchvision_name: ClassVar[str] = "CIFAR100"
    batches: ClassVar[dict[Part, tuple[str, ...]]] = {
        "train": ("cifar-100-python/meta", "cifar-100-python/train"),
        "test": ("cifar-100-python/meta", "cifar-100-python/test"),
    }
    published: ClassVar[Statistics] = (
        (129.3 / 255, 124.1 / 255, 112.4 / 255),
        (68.2 / 255, 65.4 / 255, 70.4 / 255),
    )

    def class_names(self) -> tuple[str, ...]:
        return tuple(FINE_LABELS.split())
