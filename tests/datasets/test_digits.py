"""The digits, and what a search and a final run see of a data set."""

from typing import Literal

import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits

from tuner.datasets import Digits, ImageSet, Split, final_data, search_data
from tuner.datasets.image_set import CropAndFlip, TensorDataset

SPLIT = Split(validation_per_class=20, train_per_class=20)


def rows(*image_sets: ImageSet) -> list[tuple[int, ...]]:
    """Every image with its label as one tuple, sorted: equal lists hold the same images."""
    return sorted(
        (*image.flatten().tolist(), label.item())
        for image_set in image_sets
        for image, label in zip(image_set.images, image_set.labels, strict=True)
    )


def test_pool_and_test_set_are_all_digits_each_once():
    source = load_digits()
    pixels = (torch.from_numpy(source.images) / 16 * 255).round().to(torch.uint8).unsqueeze(1)
    everything = ImageSet(pixels, torch.from_numpy(source.target).long())
    pool, test = Digits().training_pool(), Digits().test_set()
    assert (pool.images.shape, test.images.shape) == ((400, 1, 8, 8), (1397, 1, 8, 8))
    assert pool.images.max() == 255
    assert pool.labels.bincount().tolist() == [40] * 10
    assert rows(pool, test) == rows(everything)


def test_the_test_set_never_changes():
    """Results of different campaigns compare only on the same test images: these literals must hold for ever."""
    assert Digits().test_set().digest() == "bad3ba3fbc8d2c65d19cbdb04cc7630fc640e04ab4a95ce8388738b0ef8648a1"
    assert Digits().training_pool().digest() == "bf24d25bde6a16e568b1437a4f7dfb6062b1209c13441e839d3a155ef845cca9"


def test_statistics_are_those_of_the_pool():
    pixels = Digits().training_pool().images.double() / 255
    (mean,), (std,) = Digits().training_pool().statistics()
    assert mean == pytest.approx(pixels.mean().item(), rel=1e-12)
    assert std == pytest.approx(pixels.std(correction=0).item(), rel=1e-12)


def test_statistics_are_per_channel_and_finite_for_a_constant_one():
    images = torch.zeros(1500, 2, 2, 2, dtype=torch.uint8)
    images[:750, 0] = 255
    images[:, 1] = 51
    mean, std = ImageSet(images, torch.zeros(1500, dtype=torch.int64)).statistics()
    assert mean == pytest.approx((0.5, 0.2))
    assert std == pytest.approx((0.5, 1.0))


def test_search_data_of_the_default_split():
    data = search_data(Digits(), SPLIT)
    assert (len(data.train), len(data.validation), data.test) == (200, 200, None)
    assert (data.classes, data.channels, data.height, data.width) == (10, 1, 8, 8)
    assert data.augmentation == CropAndFlip(1, flip=False)
    assert (data.mean, data.std) == Digits().training_pool().statistics()


def test_final_data_trains_on_train_or_on_both():
    search = search_data(Digits(), SPLIT)
    train, both = (final_data(Digits(), SPLIT, fit_on) for fit_on in ("train", "trainval"))
    assert rows(train.train) == rows(search.train)
    assert rows(train.validation) == rows(search.validation)
    assert both.validation is None
    assert rows(both.train) == rows(search.train, search.validation)
    assert len(train.test) == len(both.test) == 1397
    assert (train.mean, train.std) == (both.mean, both.std) == (search.mean, search.std)


class Guarded(TensorDataset):
    """Two classes of grey squares whose test set must not be read."""

    name: Literal["guarded"] = "guarded"
    side: int = 32

    def class_names(self):
        return ("dark", "light")

    def training_pool(self):
        images = torch.arange(0, 200, 10, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, self.side, self.side)
        return ImageSet(images, torch.arange(20) // 10)

    def test_set(self):
        raise AssertionError("the test set was read")


def test_a_search_never_reads_the_test_set():
    assert search_data(Guarded(), Split(validation_per_class=3)).test is None
    Guarded().training_pool().digest()
    with pytest.raises(AssertionError, match="the test set was read"):
        final_data(Guarded(), Split(validation_per_class=3), "train")


def tensors_within(thing) -> list[torch.Tensor]:
    """Every tensor that some attribute of `thing` leads to."""
    if isinstance(thing, torch.Tensor):
        return [thing]
    return [tensor for part in getattr(thing, "__dict__", {}).values() for tensor in tensors_within(part)]


def test_no_attribute_of_what_a_search_gets_leads_to_a_test_image():
    test = {tuple(image.flatten().tolist()) for image in Digits().test_set().images}
    held = [tensor for tensor in tensors_within(search_data(Digits(), SPLIT)) if tensor.ndim == 4]
    assert len(held) == 2
    for images in held:
        assert not test & {tuple(image.flatten().tolist()) for image in images}


def test_a_subset_copies_no_pixel_and_gives_its_own():
    whole = ImageSet(torch.randint(256, (9, 1, 2, 2), dtype=torch.uint8), torch.arange(9))
    subset = whole.take(torch.tensor([7, 1, 4, 8])).take(torch.tensor([3, 0, 2]))
    assert subset.source.data_ptr() == whole.source.data_ptr()
    assert subset.labels.tolist() == [8, 7, 4]
    assert torch.equal(subset.images, whole.images[[8, 7, 4]])
    assert torch.equal(subset.pixels(torch.tensor([1])), whole.images[[7]])
    copied = ImageSet(whole.images[[8, 7, 4]], subset.labels)
    assert (subset.digest(), subset.statistics()) == (copied.digest(), copied.statistics())
    assert subset.to("cpu") is subset
    assert subset.to("meta").source.shape == (3, 1, 2, 2)


@pytest.mark.parametrize(("settings", "padding"), [({}, 4), ({"side": 8}, 1), ({"crop_padding": 0}, 0)])
def test_crop_padding_is_an_eighth_of_the_side_unless_given(settings, padding):
    assert search_data(Guarded(**settings), Split(validation_per_class=3)).augmentation.padding == padding


def test_all_parts_of_a_run_have_one_shape():
    class Uneven(Guarded):
        def test_set(self):
            return ImageSet(torch.zeros(1, 3, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))

    with pytest.raises(ValueError, match=r"one shape.*'train': \(3, 32, 32\).*'test': \(3, 28, 28\)"):
        final_data(Uneven(), Split(validation_per_class=3), "train")


def test_data_moves_as_a_whole():
    moved = final_data(Digits(), SPLIT, "train").to("meta")
    assert {part.images.device.type for part in (moved.train, moved.validation, moved.test)} == {"meta"}
    assert {part.labels.device.type for part in (moved.train, moved.validation, moved.test)} == {"meta"}
    assert search_data(Digits(), SPLIT).to("meta").test is None


def test_digest_sees_every_pixel_label_and_the_shape():
    images, labels = torch.zeros(2, 1, 2, 3, dtype=torch.uint8), torch.tensor([0, 1])
    touched = images.clone()
    touched[1, 0, 1, 2] = 1
    variants = [(images, labels), (touched, labels), (images, labels.flip(0)), (images.view(2, 1, 3, 2), labels)]
    assert len({ImageSet(*variant).digest() for variant in variants}) == 4
    assert ImageSet(images, labels).digest() == ImageSet(images.clone(), labels.clone()).digest()


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_an_image_set_refuses_other_types_and_shapes(images, labels):
    with pytest.raises(ValueError, match="must be"):
        ImageSet(images, labels)


@pytest.mark.parametrize("wrong", [{"pool_per_class": 174}, {"pool_per_class": "40"}, {"crop": 1}])
def test_settings_are_refused_outside_the_legal_range(wrong):
    with pytest.raises(ValidationError):
        Digits(**wrong)
