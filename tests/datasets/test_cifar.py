"""CIFAR-10 and CIFAR-100: their own files, verified, downloaded, and never the other part's."""

import os
import pickle
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
import torchvision.datasets

from tests.datasets.small_files import md5, write_cifar10, write_cifar100
from tuner.datasets import CIFAR10, CIFAR100, Split, final_data, search_data, split_indices
from tuner.datasets.image_set import CropAndFlip


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data"


both = pytest.mark.parametrize(("dataset", "write"), [(CIFAR10, write_cifar10), (CIFAR100, write_cifar100)])


@both
def test_every_pixel_and_label_is_that_of_the_files(root, monkeypatch, dataset, write):
    written, cifar = write(root, monkeypatch), dataset(root=str(root))
    for part, read in (("train", cifar.training_pool()), ("test", cifar.test_set())):
        images, labels = written[part]
        assert np.array_equal(read.images.numpy(), images)
        assert read.labels.tolist() == labels.tolist()


def test_a_row_is_red_green_and_blue_line_by_line(root, monkeypatch):
    """The first row of data_batch_1 by hand: value c * 1024 + y * 32 + x is pixel (y, x) of channel c."""
    write_cifar10(root, monkeypatch)
    row = np.load(root / "cifar-10-batches-py/data_batch_1", allow_pickle=True)["data"][0]
    image = CIFAR10(root=str(root)).training_pool().images[0]
    assert [image[1, 0, 2].item(), image[2, 3, 0].item()] == [row[1024 + 2], row[2 * 1024 + 3 * 32]]


@both
def test_reads_what_torchvision_reads(root, monkeypatch, dataset, write):
    write(root, monkeypatch)
    theirs = getattr(torchvision.datasets, dataset.__name__)(root, train=True)
    pool = dataset(root=str(root)).training_pool()
    assert np.array_equal(pool.images.permute(0, 2, 3, 1), theirs.data)
    assert pool.labels.tolist() == theirs.targets
    assert list(dataset(root=str(root)).class_names()) == theirs.classes


def test_class_names_need_no_file():
    assert CIFAR10(root="nowhere").class_names()[3:6] == ("cat", "deer", "dog")
    names = CIFAR100(root="nowhere").class_names()
    assert len(set(names)) == 100
    assert list(names) == sorted(names)
    assert (names[0], names[26], names[99]) == ("apple", "crab", "worm")


@pytest.mark.parametrize(
    ("dataset", "write", "mean", "std"),
    [
        (CIFAR10, write_cifar10, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
        (CIFAR100, write_cifar100, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    ],
)
def test_normalised_cropped_and_flipped_as_in_patchup(root, monkeypatch, dataset, write, mean, std):
    write(root, monkeypatch)
    data = search_data(dataset(root=str(root)), Split(validation_per_class=1))
    assert [255 * value for value in data.mean] == pytest.approx(mean)
    assert [255 * value for value in data.std] == pytest.approx(std)
    assert data.augmentation == CropAndFlip(2, flip=True)
    assert dataset(root=str(root), crop_padding=4, flip=False).augmentation((3, 32, 32)) == CropAndFlip(4, flip=False)


@pytest.mark.parametrize(
    ("dataset", "write", "test_file"),
    [
        (CIFAR10, write_cifar10, "cifar-10-batches-py/test_batch"),
        (CIFAR100, write_cifar100, "cifar-100-python/test"),
    ],
)
def test_a_search_needs_no_test_file(root, monkeypatch, dataset, write, test_file):
    write(root, monkeypatch)
    (root / test_file).unlink()
    data = search_data(dataset(root=str(root)), Split(validation_per_class=1))
    assert len(data.train) + len(data.validation) == len(dataset(root=str(root)).training_pool())
    with pytest.raises(ValueError, match=f"got no {test_file}; set download: true, or unpack https://.*python.tar.gz"):
        final_data(dataset(root=str(root)), Split(validation_per_class=1), "train")


def test_the_test_set_needs_no_training_file(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    for number in range(1, 6):
        (root / f"cifar-10-batches-py/data_batch_{number}").unlink()
    assert len(CIFAR10(root=str(root)).test_set()) == 10


def test_missing_files_are_named_with_the_way_to_get_them(root, monkeypatch):
    with pytest.raises(ValueError, match=r"data must hold .*data_batch_5, got none of them; set download: true"):
        CIFAR10(root=str(root)).training_pool()
    write_cifar10(root, monkeypatch)
    (root / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"got no cifar-10-batches-py/data_batch_3; .*cifar-10-python.tar.gz there"):
        CIFAR10(root=str(root)).training_pool()


class Unpickled:
    """Whose unpickling leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["data_batch_2", "batches.meta"])
def test_a_file_with_another_checksum_is_never_unpickled(root, monkeypatch, name):
    write_cifar10(root, monkeypatch)
    (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Unpickled(root / "unpickled")))
    with pytest.raises(ValueError, match=r"must be the published files, got another checksum .*remove them"):
        CIFAR10(root=str(root)).training_pool()
    assert not (root / "unpickled").exists()


def test_the_second_reading_does_without_torchvision_until_a_file_changes(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    digest = CIFAR10(root=str(root)).training_pool().digest()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "torchvision", None)
        assert CIFAR10(root=str(root)).training_pool().digest() == digest
    os.utime(root / "cifar-10-batches-py/data_batch_1", ns=(0, 0))
    (root / "cifar-10-batches-py/data_batch_2").write_bytes(b"")
    with pytest.raises(ValueError, match="another checksum"):
        CIFAR10(root=str(root)).training_pool()


@pytest.fixture
def served(tmp_path):
    """A folder, and the address of the server that hands out its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def archive(served, tmp_path, monkeypatch) -> Path:
    """The small CIFAR-10 as an archive that torchvision downloads instead of the real one."""
    folder, address = served
    write_cifar10(tmp_path / "source", monkeypatch)
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "source/cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(archive))
    return archive


def test_a_download_shows_its_progress_and_leaves_the_files_alone(archive, root, tmp_path, capfd):
    assert len(CIFAR10(root=str(root), download=True).training_pool()) == 50
    assert "100%" in capfd.readouterr().err
    assert [entry.name for entry in root.iterdir()] == ["cifar-10-batches-py"]
    archive.unlink()
    assert len(CIFAR10(root=str(root), download=True).training_pool()) == 50
    # The archive held both parts: the other one is there, too.
    assert len(CIFAR10(root=str(root), download=True).test_set()) == len(
        CIFAR10(root=str(tmp_path / "source")).test_set()
    )
    digests = {CIFAR10(root=str(place)).training_pool().digest() for place in (root, tmp_path / "source")}
    assert len(digests) == 1


def test_a_download_fetches_what_is_missing_and_keeps_what_is_there(archive, root, tmp_path):
    shutil.copytree(tmp_path / "source", root)
    (root / "cifar-10-batches-py/data_batch_4").unlink()
    kept = (root / "cifar-10-batches-py/data_batch_1").stat()
    assert len(CIFAR10(root=str(root), download=True).training_pool()) == 50
    assert (root / "cifar-10-batches-py/data_batch_1").stat().st_ino == kept.st_ino


def test_a_download_with_another_checksum_is_refused(archive, root):
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"cifar10 cannot be downloaded to .*data \(.*corrupted.*or unpack http"):
        CIFAR10(root=str(root), download=True).training_pool()
    assert list(root.iterdir()) == []


def test_a_download_that_finds_nobody_tells_what_to_do(archive, root):
    archive.unlink()
    with pytest.raises(ValueError, match=r"cifar10 cannot be downloaded to .*data \(.*404.*try again, or unpack http"):
        CIFAR10(root=str(root), download=True).training_pool()


def test_many_may_download_decode_and_cache_at_once(archive, root, tmp_path):
    # Threads meet in the same files as processes do, without each importing torchvision for 2 CPU seconds.
    everyone = Barrier(8)

    def read(_) -> str:
        everyone.wait(timeout=60)
        return CIFAR10(root=str(root), download=True).training_pool().digest()

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(read, range(8)))
    assert digests == {CIFAR10(root=str(tmp_path / "source")).training_pool().digest()}
    assert [entry.name for entry in root.iterdir()] == ["cifar-10-batches-py"]
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(("classes", "held"), [(10, 500), (100, 50)])
def test_the_papers_split_can_be_asked_for(classes, held):
    """PatchUp validates on 5,000 of the 50,000 images and trains on the other 45,000."""
    labels = torch.arange(classes).repeat(50_000 // classes)
    train, validation = split_indices(labels, Split(validation_per_class=held))
    assert (len(train), len(validation)) == (45_000, 5_000)
