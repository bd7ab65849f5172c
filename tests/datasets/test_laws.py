"""What every data set obeys, shown on small files. A new one is judged as soon as SMALL can write some for it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from tests.datasets import small_files
from tuner.datasets import Dataset, DatasetSettings, Split, dataset_classes, final_data, search_data
from tuner.paper import Paper

settings = TypeAdapter(DatasetSettings)
CLASSES = dataset_classes()
SPLIT = Split(validation_per_class=1)

SMALL = {
    "cifar10": (small_files.write_cifar10, {}),
    "cifar100": (small_files.write_cifar100, {}),
    "digits": None,
    "folder": (small_files.write_folder, {}),
    "imagenet": (small_files.write_imagenet, {"image_size": 16, "workers": 0}),
    "svhn": (small_files.write_svhn, {}),
    "tiny_imagenet": (small_files.write_tiny_imagenet, {}),
}
"""What writes a data set's files, and its settings besides their root; None for one that needs no files."""

TEST_FILES = {
    "cifar10": "cifar-10-batches-py/test_batch",
    "cifar100": "cifar-100-python/test",
    "folder": "test/*/*",
    "imagenet": "val/*/*",
    "svhn": "test_32x32.mat",
    "tiny_imagenet": "val/images/*",
}
"""Where the images lie that only a final run may read."""

every_dataset = pytest.mark.parametrize("name", CLASSES)
every_dataset_of_files = pytest.mark.parametrize("name", [name for name in CLASSES if SMALL[name]])


@dataclass(frozen=True)
class Small:
    """A data set, and the folder of its small files."""

    dataset: Dataset
    root: Path


@pytest.fixture
def small(name, tmp_path, monkeypatch) -> Small:
    if SMALL[name] is None:
        return Small(CLASSES[name](), tmp_path)
    write, own = SMALL[name]
    write(tmp_path / "data", monkeypatch)
    return Small(CLASSES[name](root=str(tmp_path / "data"), **own), tmp_path / "data")


@every_dataset
def test_labels_are_classes_and_every_class_has_images(name, small):
    for images in (small.dataset.training_pool(), small.dataset.test_set()):
        assert images.labels.dtype == torch.int64
        assert images.labels.unique().tolist() == list(range(small.dataset.classes()))
    assert len(set(small.dataset.class_names())) == small.dataset.classes()


@every_dataset
def test_both_parts_have_one_shape_and_share_no_image(name, small):
    pool, test = small.dataset.training_pool(), small.dataset.test_set()
    assert pool.shape == test.shape
    digests = [{images.take(torch.tensor([row])).digest() for row in range(len(images))} for images in (pool, test)]
    assert not digests[0] & digests[1]


@every_dataset
def test_a_search_gets_no_test_image_and_a_final_run_gets_them_all(name, small):
    assert search_data(small.dataset, SPLIT).test is None
    data = final_data(small.dataset, SPLIT, "train")
    assert len(data.test) == len(small.dataset.test_set())
    assert len(data.train) + len(data.validation) == len(small.dataset.training_pool())


@every_dataset_of_files
def test_a_search_reads_no_test_file(name, small):
    before = search_data(small.dataset, SPLIT)
    files = list(small.root.glob(TEST_FILES[name]))
    assert files
    for path in files:
        path.write_bytes(b"whoever reads this fails")
    after = search_data(small.dataset, SPLIT)
    assert (after.train.digest(), after.validation.digest()) == (before.train.digest(), before.validation.digest())
    with pytest.raises(ValueError, match=r"cannot be decoded|another checksum"):
        read_all(small.dataset.test_set(), before)
    for path in files:
        path.unlink()
    assert search_data(small.dataset, SPLIT).train.digest() == before.train.digest()


def read_all(images, data) -> torch.Tensor:
    return torch.cat([batch for batch, _ in images.batches(data, 8, train=False).epoch()])


@every_dataset
def test_batches_are_normalised_images_of_the_data_sets_shape(name, small):
    data = search_data(small.dataset, SPLIT)
    assert len(data.mean) == len(data.std) == data.channels
    assert all(std > 0 for std in data.std)
    for part, generator in ((data.train, torch.Generator().manual_seed(0)), (data.validation, None)):
        images, labels = next(part.batches(data, 4, train=generator is not None).epoch(generator))
        assert images.shape[1:] == part.shape
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    black, white = (
        (torch.full((3,), value)[: data.channels] - torch.tensor(data.mean)) / torch.tensor(data.std)
        for value in (0.0, 1.0)
    )
    pixels = read_all(data.validation, data)
    assert (pixels >= black.view(-1, 1, 1) - 1e-5).all()
    assert (pixels <= white.view(-1, 1, 1) + 1e-5).all()


@every_dataset
def test_reading_again_gives_the_same_and_a_subset_is_another(name, small):
    pool, again = small.dataset.training_pool(), small.dataset.training_pool()
    rows = torch.tensor([3, 0, 2])
    assert pool.digest() == again.digest()
    assert pool.take(rows).digest() == again.take(rows).digest()
    assert pool.take(rows).labels.tolist() == pool.labels[rows].tolist()
    assert len({pool.digest(), pool.take(rows).digest(), pool.take(rows.flip(0)).digest()}) == 3


@every_dataset
def test_settings_survive_json(name, small):
    again = settings.validate_json(small.dataset.model_dump_json())
    assert again == small.dataset
    assert type(again) is CLASSES[name]
    assert again.model_dump(mode="json") == json.loads(small.dataset.model_dump_json())


@every_dataset
def test_settings_are_strict_and_described(name, small):
    with pytest.raises(ValidationError):
        settings.validate_python(small.dataset.model_dump() | {"unknown": 1})
    for field, info in CLASSES[name].model_fields.items():
        assert field == "name" or info.description, field


@every_dataset_of_files
def test_a_wrong_root_is_named_with_what_belongs_there(name, small, tmp_path):
    lost = small.dataset.model_copy(update={"root": str(tmp_path / "nowhere")})
    for read in (lost.training_pool, lost.test_set):
        with pytest.raises(ValueError, match=r"nowhere.* must hold .*, got n") as error:
            read()
        assert any(word in str(error.value) for word in ("http", "image-net.org", "create it"))


@every_dataset_of_files
def test_a_relative_root_is_settled_where_it_is_written(name, small, monkeypatch):
    monkeypatch.chdir(small.root.parent)
    relative = settings.validate_python(small.dataset.model_dump() | {"root": "data"})
    monkeypatch.chdir("/")
    assert relative == small.dataset


@every_dataset
def test_it_tells_its_paper_and_what_it_is(name):
    cls = CLASSES[name]
    first = cls.__doc__.splitlines()[0]
    assert first.endswith(".")
    if name != "folder":
        assert isinstance(cls.paper, Paper)
        assert all(vars(cls.paper).values())
        assert "classes" in first
        assert "pixels" in first
