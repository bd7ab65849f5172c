"""Tiny-ImageNet: the published folder, of which val/ is the test set."""

import shutil

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from tests.datasets.small_files import WNIDS, write_tiny_imagenet
from tuner.datasets import Split, TinyImageNet, final_data, search_data
from tuner.datasets.image_set import CropAndFlip


@pytest.fixture
def root(tmp_path):
    return tmp_path / "tiny-imagenet-200"


@pytest.fixture
def written(root, monkeypatch):
    return write_tiny_imagenet(root, monkeypatch)


def test_every_pixel_and_label_is_that_of_the_files(root, written):
    tiny = TinyImageNet(root=str(root))
    for part, read in (("train", tiny.training_pool()), ("test", tiny.test_set())):
        images, labels = written[part]
        assert np.array_equal(read.images.numpy(), images)
        assert read.labels.tolist() == labels.tolist()


def test_grey_images_have_three_equal_channels(root, written):
    for images in (TinyImageNet(root=str(root)).training_pool().images, TinyImageNet(root=str(root)).test_set().images):
        equal = [(image == image[:1]).all().item() for image in images]
        assert equal == [True] + [False] * (len(images) - 1)


def test_labels_are_those_of_imagefolder_and_names_go_with_them(root, written):
    theirs, tiny = ImageFolder(root / "train"), TinyImageNet(root=str(root))
    assert theirs.classes == sorted(WNIDS)
    assert tiny.training_pool().labels.tolist() == theirs.targets
    assert tiny.class_names() == ("goldfish, Carassius auratus", "Egyptian cat", "lemon")


def test_pixels_from_minus_one_to_one_cropped_and_flipped(root, written):
    data = search_data(TinyImageNet(root=str(root)), Split(validation_per_class=1))
    assert (data.mean, data.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert data.augmentation == CropAndFlip(4, flip=True)
    assert (data.classes, data.channels, data.height, data.width) == (3, 3, 64, 64)


def test_a_search_needs_nothing_of_val(root, written):
    shutil.rmtree(root / "val")
    assert len(search_data(TinyImageNet(root=str(root)), Split(validation_per_class=1)).train) == 9
    with pytest.raises(ValueError, match=r"got no .*val_annotations.txt, or an empty one; unpack http"):
        final_data(TinyImageNet(root=str(root)), Split(validation_per_class=1), "train")


def test_the_test_set_needs_nothing_of_train(root, written):
    shutil.rmtree(root / "train")
    assert len(TinyImageNet(root=str(root)).test_set()) == 6


INCOMPLETE = {
    "nothing at all": (shutil.rmtree, r"got no .*wnids.txt, or an empty one"),
    "a class": (lambda root: shutil.rmtree(root / "train/n02124075"), r"got 0 images in train/n02124075/images"),
    "all classes": (lambda root: shutil.rmtree(root / "train"), r"got 0 images in train/n01443537/images"),
    "an image of train": (
        lambda root: (root / "train/n02124075/images/n02124075_3.JPEG").unlink(),
        r"got 3 images in train/n02124075/images and up to 4 in other classes",
    ),
    "an image of val": (lambda root: (root / "val/images/val_2.JPEG").unlink(), r"got no .*val_2.JPEG and 0 other"),
    "words": (lambda root: (root / "words.txt").write_text("n02124075\tEgyptian cat\n"), r"got no words for n01443537"),
    "a line": (
        lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn1\t0\n"),
        r"line 'val_0.JPEG n1",
    ),
}


@pytest.mark.parametrize(("remove", "got"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_what_is_missing_is_named_with_layout_and_address(root, written, remove, got):
    remove(root)
    with pytest.raises(ValueError, match=rf"{root} must hold wnids.txt, words.txt, train/<wnid>.*{got}") as error:
        final_data(TinyImageNet(root=str(root)), Split(validation_per_class=1), "train")
    assert "unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip (again)" in str(error.value)


def test_labels_follow_the_annotations_and_not_the_cache(root, written):
    tiny, annotations = TinyImageNet(root=str(root)), root / "val/val_annotations.txt"
    before = tiny.test_set().labels.tolist()
    lines = [line.split("\t") for line in annotations.read_text().splitlines()]
    lines[0][1] = next(wnid for wnid in WNIDS if wnid != lines[0][1])
    annotations.write_text("".join("\t".join(line) + "\n" for line in lines))
    after = tiny.test_set().labels.tolist()
    assert after[0] == sorted(WNIDS).index(lines[0][1]) != before[0]
    assert after[1:] == before[1:]


def test_a_damaged_image_is_named(root, written):
    path = root / "val/images/val_3.JPEG"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"val_3.JPEG cannot be decoded"):
        TinyImageNet(root=str(root)).test_set()


def test_decoded_once(root, written, monkeypatch):
    digest = TinyImageNet(root=str(root)).test_set().digest()
    monkeypatch.setattr("tuner.datasets.tiny_imagenet.decode", None)
    assert TinyImageNet(root=str(root)).test_set().digest() == digest
