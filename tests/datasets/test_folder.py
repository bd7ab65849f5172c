"""An ImageFolder tree: which images, with which labels and pixels, and what is refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from tuner.datasets import DatasetSettings, Digits, Folder, Split, final_data, search_data
from tuner.datasets.image_set import CropAndFlip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REGTUNE_CACHE", str(tmp_path / "cache"))


def pixels(seed: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).convert(mode).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes with four images to train (seeds 0-3 and 4-7) and two to test (10, 11 and 12, 13)."""
    for part, first, count in (("train", 0, 4), ("test", 10, 2)):
        for label, name in enumerate(("ant", "bee")):
            for number in range(count):
                save(pixels(first + count * label + number), tmp_path / "data" / part / name / f"{number}.png")
    return tmp_path / "data"


def stack(seeds) -> torch.Tensor:
    return torch.stack([torch.from_numpy(pixels(seed)).permute(2, 0, 1) for seed in seeds])


def test_images_labels_and_class_names(root, recwarn):
    folder = Folder(root=str(root))
    pool, test = folder.training_pool(), folder.test_set()
    assert (folder.class_names(), folder.classes()) == (("ant", "bee"), 2)
    assert torch.equal(pool.images, stack(range(8)))
    assert pool.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(test.images, stack(range(10, 14)))
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert not recwarn.list


def test_reads_what_torchvision_reads(root):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    save(pixels(20), root / "train/ant/deep/er/20.jpeg")
    save(pixels(21), root / "train/ant/Z.JPG")
    save(pixels(22), root / "train/bee/10.png", mode="L")
    save(pixels(23), root / "train/bee/palette.png", mode="P")
    save(pixels(24), root / "train/bee/transparent.png", mode="RGBA")
    (root / "train/bee/notes.txt").write_text("no image")
    theirs = ImageFolder(root / "train")
    pool = Folder(root=str(root)).training_pool()
    assert Folder(root=str(root)).class_names() == tuple(theirs.classes)
    assert pool.labels.tolist() == theirs.targets
    assert torch.equal(pool.images, torch.stack([pil_to_tensor(image) for image, _ in theirs]))


def test_the_data_of_a_run(root):
    data = final_data(Folder(root=str(root)), Split(validation_per_class=1, train_per_class=2), "train")
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 4)
    assert (data.classes, data.channels, data.augmentation) == (2, 3, CropAndFlip(1, flip=True))
    pool = stack(range(8)).double() / 255
    assert data.mean == pytest.approx(pool.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    assert data.std == pytest.approx(pool.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-12)


def test_large_files_decoded_by_threads_keep_their_order(tmp_path):
    for part in ("train", "test"):
        for seed in range(24):
            save(pixels(seed, 80, 80), tmp_path / part / "only" / f"{seed:02}.png")
    assert (tmp_path / "train/only/00.png").stat().st_size > 16 * 1024
    images = Folder(root=str(tmp_path)).training_pool().images
    assert torch.equal(images, torch.stack([torch.from_numpy(pixels(s, 80, 80)).permute(2, 0, 1) for s in range(24)]))


def test_image_size_cuts_the_centre_square(root):
    wide = pixels(30, 8, 14)
    save(wide, root / "train/ant/0.png")
    first = Folder(root=str(root), image_size=8).training_pool().images[0]
    assert torch.equal(first, torch.from_numpy(wide[:, 3:11]).permute(2, 0, 1))


def test_image_size_is_antialiased(root):
    checkerboard = (np.indices((64, 96)).sum(0) % 2 * 255).astype(np.uint8)
    save(checkerboard, root / "train/ant/0.png")
    first = Folder(root=str(root), image_size=8).training_pool().images[0].float()
    assert first.shape == (3, 8, 8)
    assert (first - 127.5).abs().max() < 4


def test_images_of_two_sizes_are_refused_with_both_named(root):
    save(pixels(31, 9, 8), root / "train/bee/2.png")
    with pytest.raises(ValueError, match=r"\(8, 8\) in .*ant.0\.png and \(9, 8\) in .*bee.2\.png; set image_size"):
        Folder(root=str(root)).training_pool()
    assert Folder(root=str(root), image_size=8).training_pool().images.shape == (8, 3, 8, 8)


@pytest.mark.parametrize("missing", ["", "train", "test"])
def test_a_missing_folder_is_named_with_the_layout(root, missing):
    shutil.rmtree(root / missing)
    with pytest.raises(ValueError, match=r"no such folder; the layout is .*train/<class>/<image>") as error:
        Folder(root=str(root)).test_set()
    assert str(root / (missing or "train")) in str(error.value)


def test_a_part_without_classes_is_refused(root):
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    with pytest.raises(ValueError, match="one folder of images for each class, got none there"):
        Folder(root=str(root)).test_set()


def test_parts_with_other_classes_are_refused_with_the_difference(root):
    (root / "test/bee").rename(root / "test/wasp")
    with pytest.raises(ValueError, match=r"only in train: \['bee'\], only in test: \['wasp'\]"):
        Folder(root=str(root)).test_set()
    assert len(Folder(root=str(root)).training_pool()) == 8  # a search reads nothing of test/


def test_a_class_without_images_is_named(root):
    shutil.rmtree(root / "train/bee")
    (root / "train/bee").mkdir()
    with pytest.raises(ValueError, match=r"train.bee must hold images .* got none"):
        Folder(root=str(root)).training_pool()


@pytest.mark.parametrize("name", ["3.png", "3.jpg"])
@pytest.mark.parametrize("keep", [0, 40, 0.7])
def test_a_corrupt_image_is_named(root, name, keep):
    path = root / "train/bee" / name
    save(pixels(32), path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match=rf"bee.{name} cannot be decoded"):
        Folder(root=str(root)).training_pool()


@pytest.mark.parametrize(("read", "other"), [("training_pool", "test"), ("test_set", "train")])
def test_reading_one_part_never_reads_the_other(root, read, other):
    for path in (root / other).rglob("*.png"):
        path.write_bytes(b"whoever reads this fails")
    folder = Folder(root=str(root))
    getattr(folder, read)()
    if other == "test":
        search_data(folder, Split(validation_per_class=1))
        with pytest.raises(ValueError, match="cannot be decoded"):
            final_data(folder, Split(validation_per_class=1), "train")


def test_the_second_reading_decodes_nothing_until_a_file_changes(root):
    folder, path = Folder(root=str(root)), root / "train/ant/0.png"
    digest, before = folder.training_pool().digest(), path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert folder.training_pool().digest() == digest
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(ValueError, match="cannot be decoded"):
        folder.training_pool().digest()


def test_what_changes_the_images_changes_what_is_read(root):
    digests = [
        Folder(root=str(root)).training_pool().digest(),
        Folder(root=str(root), image_size=4).training_pool().digest(),
    ]
    digests.append(Folder(root=str(root)).test_set().digest())
    save(pixels(33), root / "train/ant/9.png")
    digests.append(Folder(root=str(root)).training_pool().digest())
    (root / "train/ant/9.png").rename(root / "train/bee/9.png")
    digests.append(Folder(root=str(root)).training_pool().digest())
    assert len(set(digests)) == 5


def test_parts_with_files_of_equal_names_sizes_and_times_are_apart(tmp_path):
    for seed, part in enumerate(("train", "test")):
        save(pixels(seed), tmp_path / part / "only/0.bmp")
        os.utime(tmp_path / part / "only/0.bmp", ns=(0, 0))
    folder = Folder(root=str(tmp_path))
    assert torch.equal(folder.training_pool().images, stack([0]))
    assert torch.equal(folder.test_set().images, stack([1]))


def test_a_relative_root_is_settled_where_it_is_written(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    folder = Folder(root="data")
    monkeypatch.chdir("/")
    assert folder.root == str(root)
    assert len(folder.training_pool()) == 8


def test_settings_are_chosen_by_name_and_strict():
    settings = TypeAdapter(DatasetSettings)
    assert settings.validate_python({"name": "digits"}) == Digits()
    assert settings.validate_python({"name": "folder", "root": "/data"}).root == "/data"
    for wrong in ({"name": "cifar"}, {"name": "folder"}, {"name": "folder", "root": "/data", "image_size": "32"}):
        with pytest.raises(ValidationError):
            settings.validate_python(wrong)
