"""SVHN: Matlab files, ten that means zero, and the split of the papers."""

import shutil

import numpy as np
import pytest
import torch
import torchvision.datasets
from scipy.io import loadmat

from tests.datasets.small_files import write_svhn
from tuner.datasets import SVHN, Split, final_data, search_data, split_indices
from tuner.datasets.image_set import CropAndFlip


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def test_every_pixel_and_label_is_that_of_the_files(root, monkeypatch):
    written, svhn = write_svhn(root, monkeypatch), SVHN(root=str(root))
    for part, read in (("train", svhn.training_pool()), ("test", svhn.test_set())):
        images, labels = written[part]
        assert np.array_equal(read.images.numpy(), images)
        assert read.labels.tolist() == [0 if label == 10 else label for label in labels]


def test_height_width_channel_image_is_how_matlab_has_it(root, monkeypatch):
    write_svhn(root, monkeypatch)
    matlab = loadmat(root / "train_32x32.mat")["X"]
    image = SVHN(root=str(root)).training_pool().images[7]
    assert [image[1, 0, 2].item(), image[2, 3, 0].item()] == [matlab[0, 2, 1, 7], matlab[3, 0, 2, 7]]


def test_reads_what_torchvision_reads(root, monkeypatch):
    write_svhn(root, monkeypatch)
    theirs, pool = torchvision.datasets.SVHN(root, split="train"), SVHN(root=str(root)).training_pool()
    assert np.array_equal(pool.images, theirs.data)
    assert pool.labels.tolist() == theirs.labels.tolist()


def test_pixels_from_minus_one_to_one_cropped_and_never_mirrored(root, monkeypatch):
    write_svhn(root, monkeypatch)
    data = search_data(SVHN(root=str(root)), Split(validation_per_class=1))
    assert (data.mean, data.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert data.augmentation == CropAndFlip(2, flip=False)
    assert data.classes == 10


def test_a_search_needs_no_test_file(root, monkeypatch):
    write_svhn(root, monkeypatch)
    (root / "test_32x32.mat").unlink()
    assert len(search_data(SVHN(root=str(root)), Split(validation_per_class=1)).train) == 20
    with pytest.raises(ValueError, match=r"must hold test_32x32.mat, got none of them.* or put http.*test_32x32.mat"):
        final_data(SVHN(root=str(root)), Split(validation_per_class=1), "train")


def test_a_file_cut_short_is_refused(root, monkeypatch):
    write_svhn(root, monkeypatch)
    path = root / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train_32x32.mat must be the published files, got another checksum"):
        SVHN(root=str(root)).training_pool()


def test_a_download_puts_each_part_where_it_is_read(root, tmp_path, monkeypatch):
    """Copying stands for the network here; the archive of CIFAR-10 is fetched from a server."""
    images, _ = write_svhn(tmp_path / "source", monkeypatch)["test"]
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve",
        lambda url, place: shutil.copy(tmp_path / "source" / url.rsplit("/", 1)[1], place),
    )
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    assert np.array_equal(SVHN(root=str(root), download=True).test_set().images, images)
    assert [entry.name for entry in root.iterdir()] == ["test_32x32.mat"]


# How many training images the published file has of each digit, 0 to 9.
COUNTS = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)


def test_the_papers_split_can_be_asked_for():
    """PatchUp validates on 733 of each digit and trains on at most 7,325 of the others."""
    labels = torch.arange(10).repeat_interleave(torch.tensor(COUNTS))
    assert len(labels) == 73_257
    train, validation = split_indices(labels, Split(validation_per_class=733, most_train_per_class=7325))
    assert (len(train), len(validation)) == (57_158, 7_330)
