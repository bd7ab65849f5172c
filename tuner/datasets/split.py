"""Train and validation images of a training pool: stratified, seeded, and the same on every machine."""

import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor


class Split(BaseModel):
    """How many images of each class of the training pool validate and train, and which draw of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    validation_per_class: int = Field(ge=1, description="validation images of each class")
    train_per_class: int | None = Field(None, ge=1, description="training images of each class; none: all the rest")
    most_train_per_class: int | None = Field(
        None, ge=1, description="the same where classes may have fewer: those give all that they have"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="which of the possible splits")

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.train_per_class is not None and self.most_train_per_class is not None:
            raise ValueError(
                f"train_per_class ({self.train_per_class}) is how many each class trains with, most_train_per_class "
                f"({self.most_train_per_class}) how many at most; give one of them"
            )
        return self


def split_indices(labels: Tensor, split: Split, class_names: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Indices (train, validation) into labels (N,): disjoint, each sorted.

    Every class validates with equally many images, and with `train_per_class` trains with equally many. The validation
    images do not depend on how many train, and more only adds training images, so that low-data studies of several
    sizes compare on the same images. Raises ValueError where a class (called by its name where `class_names` are given)
    has too few.
    """
    held = split.validation_per_class
    least = held + (split.train_per_class or 1)
    train, validation = [], []
    for label, order in enumerate(shuffled_classes(labels, split.seed)):
        if len(order) < least:
            called = repr(class_names[label]) if class_names else str(label)
            asked = f"{held} for validation and {split.train_per_class or 'at least 1'} for training"
            raise ValueError(
                f"every class needs {least} images ({asked}), class {called} has {len(order)}; "
                "lower validation_per_class or train_per_class"
            )
        validation.append(order[:held])
        most = split.train_per_class or split.most_train_per_class
        train.append(order[held : most and held + most])
    return torch.cat(train).sort().values, torch.cat(validation).sort().values


def shuffled_classes(labels: Tensor, seed: int) -> list[Tensor]:
    """For each class 0..max(labels), the indices of its images in an order drawn from the seed and the class."""
    # numpy promises (NEP 19) never to change what RandomState draws; Generator and torch promise nothing across
    # versions, and a split stands in ledgers and papers.
    return [
        members[torch.from_numpy(np.random.RandomState([seed, label]).permutation(len(members)))]
        for label in range(int(labels.max()) + 1)
        for members in [(labels == label).nonzero().flatten()]
    ]


def split_digest(indices: Tensor) -> str:
    """SHA-256 (hex) of indices int64 (M,): equal exactly where they name the same images in the same order."""
    return hashlib.sha256(indices.cpu().numpy().astype("<i8").tobytes()).hexdigest()
