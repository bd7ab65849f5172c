"""The data sets, and the two views of one: what a search may see, and what a final run trains and measures on."""

from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from tuner.datasets.base import Data, Dataset, Images
from tuner.datasets.cifar import CIFAR10, CIFAR100
from tuner.datasets.digits import Digits
from tuner.datasets.folder import Folder
from tuner.datasets.image_set import ImageSet
from tuner.datasets.imagenet import ImageNet
from tuner.datasets.split import Split, split_digest, split_indices
from tuner.datasets.svhn import SVHN
from tuner.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "SVHN",
    "Data",
    "Dataset",
    "DatasetSettings",
    "Digits",
    "Folder",
    "ImageNet",
    "ImageSet",
    "Images",
    "Split",
    "TinyImageNet",
    "dataset_classes",
    "final_data",
    "search_data",
    "split_digest",
    "split_indices",
]

DatasetSettings = Annotated[
    Digits | Folder | CIFAR10 | CIFAR100 | SVHN | TinyImageNet | ImageNet, Field(discriminator="name")
]


def dataset_classes() -> dict[str, type[Dataset]]:
    """The class of each data set by its name, in the order of `DatasetSettings`."""
    union, _ = get_args(DatasetSettings)
    return {cls.model_fields["name"].default: cls for cls in get_args(union)}


def search_data(dataset: Dataset, split: Split) -> Data:
    """The split's train and validation images; the test set is not even read."""
    pool = dataset.training_pool()
    train, validation = split_indices(pool.labels, split, dataset.class_names())
    return _data(dataset, pool, train, validation, test=None)


def final_data(dataset: Dataset, split: Split, fit_on: Literal["train", "trainval"]) -> Data:
    """What a search sees and the test set; with "trainval" the validation images are trained on too."""
    pool = dataset.training_pool()
    train, validation = split_indices(pool.labels, split, dataset.class_names())
    if fit_on == "trainval":
        train, validation = torch.cat([train, validation]).sort().values, None
    return _data(dataset, pool, train, validation, test=dataset.test_set())


def _data(dataset: Dataset, pool: Images, train: Tensor, validation: Tensor | None, test: Images | None) -> Data:
    mean, std = dataset.statistics(pool)
    return Data(
        train=pool.take(train),
        validation=None if validation is None else pool.take(validation),
        test=test,
        classes=dataset.classes(),
        mean=mean,
        std=std,
        augmentation=dataset.augmentation(pool.shape),
    )
