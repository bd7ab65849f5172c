"""The cache of decoded images: written whole, read by all, never believed when damaged, never fatal."""

import json
import os
import sys
from multiprocessing import get_context

import pytest
import torch

from tuner.datasets.cache import cache_root, cached
from tuner.datasets.image_set import ImageSet


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("REGTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures(value: int = 7) -> ImageSet:
    return ImageSet(torch.full((5, 3, 4, 4), value, dtype=torch.uint8), torch.arange(5))


def never() -> ImageSet:
    raise AssertionError("decoded again")


def test_decodes_once_and_reads_from_then_on(root):
    first, second = cached("key", {}, pictures), cached("key", {}, never)
    assert first.digest() == second.digest() == pictures().digest()
    assert [entry.name for entry in root.iterdir()] == ["key"]


def test_meta_tells_what_is_cached(root):
    cached("key", {"part": "train"}, pictures)
    assert json.loads((root / "key/meta.json").read_text()) == {
        "part": "train",
        "shapes": {"images": [5, 3, 4, 4], "labels": [5]},
        "sha256": pictures().digest(),
    }


def test_keys_are_apart():
    one, two = (cached(key, {}, lambda value=value: pictures(value)) for key, value in (("one", 1), ("two", 2)))
    assert (one.images.unique().item(), two.images.unique().item()) == (1, 2)


def test_what_a_run_writes_into_its_images_stays_its_own(recwarn):
    cached("key", {}, pictures).images.zero_()
    assert cached("key", {}, never).digest() == pictures().digest()
    assert not recwarn.list


DAMAGE = {
    "no meta": lambda folder: (folder / "meta.json").unlink(),
    "meta cut short": lambda folder: (folder / "meta.json").write_text('{"shapes": {"ima'),
    "meta of another form": lambda folder: (folder / "meta.json").write_text("[]"),
    "no labels": lambda folder: (folder / "labels.npy").unlink(),
    "no images": lambda folder: (folder / "images.npy").write_bytes(b""),
    "images cut short": lambda folder: (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-1]),
    "images of another set": lambda folder: (folder / "images.npy").write_bytes(
        (folder.parent / "other/images.npy").read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_set_is_decoded_anew(root, damage, caplog):
    cached("other", {}, lambda: ImageSet(torch.zeros(5, 3, 2, 2, dtype=torch.uint8), torch.arange(5)))
    cached("key", {}, pictures)
    damage(root / "key")
    assert cached("key", {}, pictures).digest() == pictures().digest()
    assert "incomplete or wrong" in caplog.text
    assert cached("key", {}, never).digest() == pictures().digest()
    assert sorted(entry.name for entry in root.iterdir()) == ["key", "other"]


def test_a_failing_decode_leaves_nothing_behind(root):
    with pytest.raises(AssertionError, match="decoded again"):
        cached("key", {}, never)
    assert not root.exists()


def test_an_unwritable_cache_costs_a_warning_not_the_run(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REGTUNE_CACHE", str(tmp_path / "file/cache"))
    assert cached("key", {}, pictures).digest() == pictures().digest()
    assert "Cannot write the cache" in caplog.text


def read_together(root, everyone, digests) -> None:
    """Decodes only when all processes have found the cache empty: the worst case of a start together."""

    def decode() -> ImageSet:
        everyone.wait(timeout=60)
        return pictures()

    os.environ["REGTUNE_CACHE"] = str(root)
    digests.put(cached("key", {}, decode).digest())


def test_eight_processes_may_start_at_once(root, monkeypatch):
    # The server imports this module, and with it torch, once for all eight; only PYTHONPATH tells it where to look.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    everyone, digests = context.Barrier(8), context.Queue()
    processes = [context.Process(target=read_together, args=(root, everyone, digests), daemon=True) for _ in range(8)]
    for process in processes:
        process.start()
    assert [digests.get(timeout=120) for _ in processes] == [pictures().digest()] * 8
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert [entry.name for entry in root.iterdir()] == ["key"]
    assert cached("key", {}, never).digest() == pictures().digest()


def test_where_the_cache_lives(tmp_path, monkeypatch):
    monkeypatch.setenv("REGTUNE_CACHE", "~/own")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("REGTUNE_CACHE")
    assert cache_root() == tmp_path / "xdg/regtune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / ".cache/regtune"
