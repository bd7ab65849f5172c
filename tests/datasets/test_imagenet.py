"""ImageNet's tree: which files, with which classes and labels, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from tuner.campaign import reading
from tuner.campaign.faults import DocumentError
from tuner.campaign.preflight import preflight
from tuner.datasets import DatasetSettings, ImageNet, Split, final_data, search_data
from tuner.datasets.image_files import CropAndColor

CLASSES = ("n01440764", "n01443537")
SPLIT = Split(validation_per_class=1, train_per_class=2)


@pytest.fixture
def root(tmp_path) -> Path:
    """Four images of each class to train, two to test, of plain greys that tell them apart."""
    for part, first, count in (("train", 0, 4), ("val", 100, 2)):
        for label, name in enumerate(CLASSES):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                grey = np.full((30, 40, 3), first + 10 * (count * label + number), np.uint8)
                Image.fromarray(grey).save(tmp_path / part / name / f"{name}_{number}.JPEG")
    return tmp_path


def imagenet(root: Path, **changed) -> ImageNet:
    return ImageNet(**({"root": str(root), "image_size": 32, "workers": 0} | changed))


def unreadable(folder: Path) -> None:
    for path in folder.rglob("*.JPEG"):
        path.write_bytes(b"whoever decodes this fails")


def test_reads_the_files_that_torchvision_reads(root):
    from torchvision.datasets import ImageFolder

    (root / "train" / CLASSES[0] / "notes.txt").write_text("no image")
    for part, files in (("train", imagenet(root).training_pool()), ("val", imagenet(root).test_set())):
        theirs = ImageFolder(root / part)
        assert imagenet(root).class_names() == CLASSES == tuple(theirs.classes)
        assert [(files.path(row), label) for row, label in enumerate(files.labels.tolist())] == theirs.samples
        assert files.shape == (3, 32, 32)


def test_the_data_of_a_run(root):
    data = final_data(imagenet(root), SPLIT, "train")
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 4)
    assert (data.classes, data.channels, data.height, data.width) == (2, 3, 32, 32)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ((images, labels),) = data.test.batches(data, 4, train=False).epoch()
    greys = images * torch.tensor(data.std).view(3, 1, 1) + torch.tensor(data.mean).view(3, 1, 1)
    expected = torch.tensor([100, 110, 120, 130]).view(4, 1, 1, 1).expand_as(greys) / 255
    assert torch.allclose(greys, expected, rtol=0, atol=1e-6)
    assert labels.tolist() == [0, 0, 1, 1]


def test_the_papers_augmentation_unless_told_otherwise(root):
    assert imagenet(root).augmentation((3, 32, 32)) == CropAndColor(flip=True, color_jitter=0.4, lighting=0.1)
    plain = imagenet(root, flip=False, color_jitter=0.0, lighting=0.0)
    assert search_data(plain, SPLIT).augmentation == CropAndColor(flip=False, color_jitter=0.0, lighting=0.0)
    assert ImageNet(root=str(root)).training_pool().shape == (3, 224, 224)


def test_workers_decode_for_every_part(root):
    data = final_data(imagenet(root, workers=3), SPLIT, "train").to("cpu")
    assert [files.workers for files in (data.train, data.validation, data.test)] == [3, 3, 3]


def test_a_search_needs_nothing_of_val(root):
    shutil.rmtree(root / "val")
    data = search_data(imagenet(root), SPLIT)
    assert (len(data.train), data.test) == (4, None)
    list(data.train.batches(data, 4, train=True).epoch(torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match=r"val must hold one folder .* no such folder"):
        final_data(imagenet(root), SPLIT, "train")


def test_no_file_is_decoded_before_the_batches(root):
    unreadable(root)
    for files in (imagenet(root).training_pool(), imagenet(root).test_set()):
        assert (files.shape, len(files.digest()), files.labels.unique().tolist()) == ((3, 32, 32), 64, [0, 1])
    data = final_data(imagenet(root), SPLIT, "trainval")
    with pytest.raises(ValueError, match=r"n01440764_0\.JPEG cannot be decoded"):
        next(data.test.batches(data, 2, train=False).epoch())


def test_the_digest_is_of_what_lies_there_wherever_that_is(root):
    digests = [imagenet(root).training_pool().digest(), imagenet(root).test_set().digest()]
    moved = shutil.copytree(root, root / "moved")
    assert [imagenet(moved).training_pool().digest(), imagenet(moved).test_set().digest()] == digests
    image = moved / "train" / CLASSES[0] / f"{CLASSES[0]}_1.JPEG"
    image.rename(moved / "train" / CLASSES[1] / image.name)
    assert len({*digests, imagenet(moved).training_pool().digest()}) == 3


@pytest.mark.parametrize("missing", ["", "train"])
def test_a_missing_folder_is_named_with_the_layout_and_the_source(root, missing):
    shutil.rmtree(root / missing)
    with pytest.raises(ValueError, match=r"no such folder; .*/val/<wnid>/<image>.JPEG.* image-net\.org") as error:
        imagenet(root).class_names()
    assert str(error.value).startswith(str(root / "train"))


def test_val_images_that_are_not_sorted_are_refused_with_what_to_do(root):
    for path in (root / "val").rglob("*.JPEG"):
        path.rename(root / "val" / path.name)
    for name in CLASSES:
        (root / "val" / name).rmdir()
    with pytest.raises(ValueError, match=r"val must hold .* got none there; .* must be sorted into folders by class"):
        imagenet(root).test_set()


def test_parts_with_other_classes_are_refused_with_the_difference(root):
    (root / "val" / CLASSES[1]).rename(root / "val/n02000000")
    with pytest.raises(ValueError, match=r"only in train: \['n01443537'\], only in val: \['n02000000'\]"):
        imagenet(root).test_set()


def test_a_class_without_images_is_named(root):
    (root / "train/n01500000").mkdir()
    with pytest.raises(ValueError, match=r"train.n01500000 must hold images .* got none"):
        imagenet(root).training_pool()


def document(root: Path) -> dict:
    return {
        "name": "small",
        "storage": str(root / "runs"),
        "dataset": {"name": "imagenet", "root": str(root), "image_size": 32},
        "split": {"validation_per_class": 1},
        "model": {"name": "preactresnet18", "width": 4},
        "methods": ["none"],
        "training": {"epochs": 2, "batch_size": 2, "lr": 0.1, "weight_decay": 1e-4, "schedule": {"name": "cosine"}},
        "search": {"trials": 1},
    }


def test_a_campaign_is_checked_without_decoding(root):
    unreadable(root)
    facts = preflight(reading.check(document(root), "small.yaml"), "small.yaml")
    assert (facts.train_images, facts.validation_images, facts.test_images) == (6, 2, 4)
    assert (facts.classes, facts.shape) == (2, (3, 32, 32))
    shutil.rmtree(root / "val")
    with pytest.raises(DocumentError, match=r"dataset: .*val must hold one folder"):
        preflight(reading.check(document(root), "small.yaml"), "small.yaml")


def test_settings_are_chosen_by_name_and_strict(root, monkeypatch):
    settings = TypeAdapter(DatasetSettings)
    written = imagenet(root).model_dump(mode="json")
    assert settings.validate_python(written) == imagenet(root)
    for wrong in ({"workers": -1}, {"color_jitter": 1.5}, {"lighting": -0.1}, {"image_size": 0}, {"val": "test"}):
        with pytest.raises(ValidationError):
            settings.validate_python(written | wrong)
    monkeypatch.chdir(root.parent)
    assert ImageNet(root=root.name).root == str(root)
