"""A split: stratified, nested, and the same for ever."""

import hashlib
import struct
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from tuner.datasets.split import Split, shuffled_classes, split_digest, split_indices

LABELS = torch.arange(3).repeat(40)[torch.randperm(120, generator=torch.Generator().manual_seed(5))]


def test_takes_equally_many_of_every_class():
    train, validation = split_indices(LABELS, Split(validation_per_class=7, train_per_class=12))
    assert LABELS[validation].bincount().tolist() == [7, 7, 7]
    assert LABELS[train].bincount().tolist() == [12, 12, 12]


def test_all_the_rest_trains_by_default():
    train, validation = split_indices(LABELS, Split(validation_per_class=7))
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(120))


def test_smaller_classes_give_what_they_have_where_the_number_is_the_most():
    labels = torch.tensor([0] * 30 + [1] * 9 + [2] * 14)
    train, validation = split_indices(labels, Split(validation_per_class=4, most_train_per_class=10))
    assert labels[train].bincount().tolist() == [10, 5, 10]
    assert labels[validation].bincount().tolist() == [4, 4, 4]
    with pytest.raises(ValidationError, match="give one of them"):
        Split(validation_per_class=4, train_per_class=10, most_train_per_class=10)


def test_parts_are_disjoint_and_sorted():
    parts = split_indices(LABELS, Split(validation_per_class=9, train_per_class=9))
    assert not set(parts[0].tolist()) & set(parts[1].tolist())
    for part in parts:
        assert part.tolist() == sorted(set(part.tolist()))


def test_more_training_images_only_adds():
    trains, validations = zip(
        *(split_indices(LABELS, Split(validation_per_class=5, train_per_class=size)) for size in (3, 10, 35, None)),
        strict=True,
    )
    for smaller, greater in pairwise(trains):
        assert set(smaller.tolist()) <= set(greater.tolist())
    assert len({tuple(validation.tolist()) for validation in validations}) == 1


def test_a_seed_is_one_split_and_another_seed_another():
    first, again, other = (
        split_indices(LABELS, Split(validation_per_class=10, seed=seed))[1].tolist() for seed in (3, 3, 4)
    )
    assert first == again != other


def test_classes_of_one_size_are_drawn_apart():
    orders = shuffled_classes(torch.arange(3).repeat_interleave(40), seed=0)
    assert len({tuple((order - 40 * label).tolist()) for label, order in enumerate(orders)}) == 3


def test_the_draw_never_changes():
    """Split hashes stand in ledgers: this literal must hold for every version of numpy and torch."""
    _, validation = split_indices(torch.arange(2).repeat(10), Split(validation_per_class=3, seed=1))
    assert validation.tolist() == [1, 4, 5, 13, 16, 18]


def test_a_class_with_too_few_images_is_named():
    labels = torch.tensor([0] * 9 + [1] * 5)
    with pytest.raises(ValueError, match=r"needs 6 images \(4 for validation and 2 for training\), class 1 has 5"):
        split_indices(labels, Split(validation_per_class=4, train_per_class=2))
    with pytest.raises(ValueError, match=r"at least 1 for training\), class 'dog' has 5"):
        split_indices(labels, Split(validation_per_class=5), ["cat", "dog"])


def test_a_class_without_any_image_is_named():
    with pytest.raises(ValueError, match="class 1 has 0"):
        split_indices(torch.tensor([0, 0, 2, 2]), Split(validation_per_class=1))


@pytest.mark.parametrize("wrong", [{"validation_per_class": 0}, {"train_per_class": 0}, {"seed": -1}, {"sed": 1}])
def test_settings_are_refused_outside_the_legal_range(wrong):
    with pytest.raises(ValidationError):
        Split.model_validate({"validation_per_class": 1} | wrong)


def test_digest_is_sha256_of_the_indices():
    assert split_digest(torch.tensor([1, 258])) == hashlib.sha256(struct.pack("<qq", 1, 258)).hexdigest()
