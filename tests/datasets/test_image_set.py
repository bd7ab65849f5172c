"""Batches: which images, in which order, cropped and flipped by which law."""

import pytest
import torch

from tuner.datasets.base import Data
from tuner.datasets.image_set import CropAndFlip, ImageSet, TensorBatches, crop


def data_of(images, crop_padding=0, flip=False, mean=0.0, std=1 / 255) -> Data:
    """Images with labels 0..N-1 as the training set; with the default mean and std, normalising keeps their values."""
    channels = images.shape[1]
    train = ImageSet(images.to(torch.uint8), torch.arange(len(images)))
    return Data(
        train=train,
        validation=None,
        test=None,
        classes=len(images),
        mean=(mean,) * channels,
        std=(std,) * channels,
        augmentation=CropAndFlip(crop_padding, flip),
    )


def batches_of(data: Data, batch_size: int, train: bool = True) -> TensorBatches:
    return data.train.batches(data, batch_size, train)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_by_hand():
    images = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8).repeat(4, 1, 1, 1)
    crops = crop(images, padding=1, down=torch.tensor([0, 1, 2, 1]), right=torch.tensor([0, 1, 1, 2]))
    assert crops[:, 0].tolist() == [[[0, 0], [0, 1]], [[1, 2], [3, 4]], [[3, 4], [0, 0]], [[2, 0], [4, 0]]]


def test_every_image_draws_its_own_offset_and_flip_uniformly():
    """One batch of 9,000 equal images shows 9 offsets x 2 flips equally often: chi-square, 17 degrees, 0.1 % level."""
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    down, right = torch.cartesian_prod(torch.arange(3), torch.arange(3)).unbind(1)
    crops = crop(image.repeat(9, 1, 1, 1), 1, down, right)[:, 0]
    cells = torch.cat([crops, crops.flip(-1)]).float()
    batches = batches_of(data_of(image.repeat(9000, 1, 1, 1), crop_padding=1, flip=True), batch_size=9000)
    ((images, _),) = batches.epoch(seeded())
    shown = (images.round() == cells).all(dim=(2, 3))
    assert (shown.sum(1) == 1).all()
    counts = shown.sum(0).double()
    assert ((counts - 500) ** 2 / 500).sum() < 40.8


def test_an_image_is_drawn_anew_in_every_epoch():
    batches = batches_of(data_of(torch.arange(1, 65).view(1, 1, 8, 8), crop_padding=2), batch_size=1)
    crops = {tuple(images.flatten().tolist()) for seed in range(40) for images, _ in batches.epoch(seeded(seed))}
    assert len(crops) > 12


def test_all_channels_of_an_image_move_together():
    pixels = torch.arange(1, 17).view(1, 1, 4, 4)
    data = data_of(torch.cat([pixels, 2 * pixels, 3 * pixels], dim=1).repeat(20, 1, 1, 1), crop_padding=2, flip=True)
    for images, _ in batches_of(data, batch_size=5).epoch(seeded()):
        assert torch.allclose(images[:, 1], 2 * images[:, 0])
        assert torch.allclose(images[:, 2], 3 * images[:, 0])


def test_without_flip_nothing_is_mirrored():
    image = torch.tensor([[[[1, 2]]]]).repeat(50, 1, 1, 1)
    ((images, _),) = batches_of(data_of(image), batch_size=50).epoch(seeded())
    assert (images[:, 0, 0].round() == torch.tensor([1.0, 2.0])).all()


def test_an_epoch_shows_each_image_once_with_its_own_label():
    data = data_of(torch.arange(100).view(100, 1, 1, 1).expand(100, 1, 2, 2))
    images, labels = (torch.cat(part) for part in zip(*batches_of(data, 7).epoch(seeded()), strict=True))
    assert sorted(labels.tolist()) == list(range(100))
    assert labels.tolist() != list(range(100))
    assert (images[:, 0, 0, 0].round() == labels).all()


def test_images_are_normalised_by_hand():
    data = data_of(torch.tensor([[[[0, 255]], [[51, 102]]]]), mean=0.4, std=0.2)
    for train, generator in ((True, seeded()), (False, None)):
        ((images, labels),) = batches_of(data, 1, train).epoch(generator)
        assert torch.allclose(images, torch.tensor([[[[-2.0, 3.0]], [[-1.0, 0.0]]]]), rtol=0, atol=1e-6)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_the_border_is_black_before_normalisation():
    data = data_of(torch.full((200, 1, 2, 2), 255), crop_padding=1, mean=0.5, std=0.5)
    ((images, _),) = batches_of(data, 200).epoch(seeded())
    assert images.unique().tolist() == [-1.0, 1.0]


def test_a_late_start_gives_the_rest_of_the_same_epoch():
    data = data_of(torch.randint(256, (23, 2, 4, 4), generator=seeded()), crop_padding=1, flip=True)
    batches = batches_of(data, batch_size=5)
    whole = list(batches.epoch(seeded(9)))
    for start in range(len(batches) + 1):
        rest = list(batches.epoch(seeded(9), start))
        assert len(rest) == len(whole) - start
        for (images, labels), (same_images, same_labels) in zip(rest, whole[start:], strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)


@pytest.mark.parametrize(
    ("count", "batch_size", "train", "sizes"),
    [
        (10, 4, True, [4, 4, 2]),
        (9, 4, True, [4, 5]),
        (9, 1, False, [4, 4, 1]),  # evaluation takes four times as many
        (8, 4, True, [4, 4]),
        (3, 4, True, [3]),
        (1, 4, True, [1]),
        (3, 1, True, [1, 1, 1]),
    ],
)
def test_a_training_epoch_never_ends_in_a_batch_of_one(count, batch_size, train, sizes):
    batches = batches_of(data_of(torch.zeros(count, 1, 2, 2)), batch_size, train)
    assert [len(labels) for _, labels in batches.epoch(seeded() if train else None)] == sizes
    assert len(batches) == len(sizes)


def test_evaluation_is_in_order_unaugmented_and_draws_nothing():
    pixels = torch.randint(256, (10, 3, 4, 4), generator=seeded())
    state = torch.get_rng_state()
    seen = list(batches_of(data_of(pixels, crop_padding=2, flip=True), 4, train=False).epoch())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.cat([labels for _, labels in seen]).tolist() == list(range(10))
    assert torch.equal(torch.cat([images for images, _ in seen]).round(), pixels.float())


def test_training_draws_from_its_generator_alone_and_leaves_the_images():
    data = data_of(torch.randint(256, (10, 1, 4, 4), generator=seeded()), crop_padding=1, flip=True)
    state, digest = torch.get_rng_state(), data.train.digest()
    list(batches_of(data, 4).epoch(seeded()))
    assert torch.equal(torch.get_rng_state(), state)
    assert data.train.digest() == digest


@pytest.mark.parametrize(("train", "generator"), [(True, None), (False, seeded())])
def test_a_generator_belongs_to_training_and_to_it_alone(train, generator):
    with pytest.raises(ValueError, match="a training epoch draws from a generator"):
        next(batches_of(data_of(torch.zeros(4, 1, 2, 2)), 2, train).epoch(generator))
