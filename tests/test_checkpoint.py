"""Checkpoints: a run that was stopped, killed or damaged ends as the uninterrupted one, bit for bit."""

import errno
import logging
import os
import resource
import time

import pytest
import torch

from tuner.datasets.base import Data
from tuner.datasets.image_set import CropAndFlip, ImageSet
from tuner.models import PreActResNet18
from tuner.regularizers import get
from tuner.training.checkpoint import KEPT, Checkpoints, SaveError
from tuner.training.fit import fit
from tuner.training.settings import Training

BATCHES, EPOCHS = 3, 4


def a_run(**changed):
    """12 steps: 4 epochs of 3 batches, by a method that draws, and with the best validation epoch kept."""
    generator = torch.Generator().manual_seed(0)

    def image_set(n):
        images = torch.randint(0, 256, (n, 1, 16, 16), generator=generator, dtype=torch.uint8)
        return ImageSet(images, torch.arange(n) % 2)

    defaults = {
        "model": PreActResNet18(width=4, blocks=(1, 1, 1, 1)),
        "regularizer": get("patchup_soft")(),
        "data": Data(image_set(22), image_set(10), image_set(10), 2, (0.5,), (0.3,), CropAndFlip(1, flip=True)),
        "training": Training(epochs=EPOCHS, batch_size=8, lr=0.05, weight_decay=5e-4, schedule={"name": "cosine"}),
        "seed": 0,
        "select": "best_val",
    }
    return fit(**(defaults | changed))


def stop_after(batches):
    """True from the poll before batch number `batches` on, counted from where this run starts."""
    polls = iter(range(batches))
    return lambda: next(polls, None) is None


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def weights_in(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return timeless(a_run(checkpoints=Checkpoints(folder))), weights_in(folder)


@pytest.mark.parametrize("batches", [0, 1, 3, 4, 8, 11])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, uninterrupted, batches):
    rows, weights = uninterrupted
    first = list(a_run(checkpoints=Checkpoints(tmp_path), should_stop=stop_after(batches)))
    assert timeless(first) == rows[: batches // BATCHES]
    assert not (tmp_path / "weights.pt").exists()
    resumed = list(a_run(checkpoints=Checkpoints(tmp_path)))
    assert resumed[: len(first)] == first  # the rows that the checkpoint holds come again, `seconds` and all
    assert timeless(resumed) == rows
    assert_same_weights(weights_in(tmp_path), weights)


def test_a_run_stopped_at_every_second_batch_goes_on_from_folder_to_folder(tmp_path, uninterrupted):
    rows, weights = uninterrupted
    folders = [tmp_path / f"attempt-{number}" for number in range(5)]
    for number, folder in enumerate(folders):
        checkpoints = Checkpoints(folder, also=folders[:number])
        list(a_run(checkpoints=checkpoints, should_stop=stop_after(2)))
    last = Checkpoints(tmp_path / "last", also=folders)
    assert timeless(a_run(checkpoints=last)) == rows
    assert_same_weights(weights_in(tmp_path / "last"), weights)
    assert all(list(folder.glob("*.ckpt")) for folder in folders)  # nothing was written or removed in older folders


class Killed(BaseException):
    """Ends a run where it stands, as SIGKILL does: nothing is saved on the way out."""


def kill_after(batches):
    stop = stop_after(batches)

    def poll():
        if stop():
            raise Killed
        return False

    return poll


@pytest.mark.parametrize("saved_at", [0, 2, 3])
def test_a_killed_run_repeats_what_came_after_its_checkpoint(tmp_path, uninterrupted, saved_at):
    rows, weights = uninterrupted
    if saved_at:
        list(a_run(checkpoints=Checkpoints(tmp_path), should_stop=stop_after(saved_at)))
    with pytest.raises(Killed):
        list(a_run(checkpoints=Checkpoints(tmp_path), should_stop=kill_after(8 - saved_at)))
    assert timeless(a_run(checkpoints=Checkpoints(tmp_path))) == rows
    assert_same_weights(weights_in(tmp_path), weights)


def test_a_run_killed_between_frequent_checkpoints_goes_on_bit_for_bit(tmp_path, uninterrupted):
    with pytest.raises(Killed):
        list(a_run(checkpoints=Checkpoints(tmp_path, every_seconds=0), should_stop=kill_after(8)))
    assert len(list(tmp_path.glob("*.ckpt"))) == KEPT
    assert timeless(a_run(checkpoints=Checkpoints(tmp_path))) == uninterrupted[0]
    assert_same_weights(weights_in(tmp_path), uninterrupted[1])


def test_saved_once_the_seconds_have_passed_and_two_are_kept(tmp_path):
    list(a_run(checkpoints=Checkpoints(tmp_path / "rare", every_seconds=3600)))
    assert [path.name for path in (tmp_path / "rare").iterdir()] == ["weights.pt"]
    list(a_run(checkpoints=Checkpoints(tmp_path / "often", every_seconds=0)))
    assert KEPT == 2
    assert sorted(path.name for path in (tmp_path / "often").iterdir()) == [
        "step-000000000010.ckpt",
        "step-000000000011.ckpt",
        "weights.pt",
    ]


def test_due_counts_from_the_start_then_from_the_last_save(tmp_path):
    checkpoints = Checkpoints(tmp_path, every_seconds=0.05)
    assert not checkpoints.due()
    time.sleep(0.06)
    assert checkpoints.due()
    checkpoints.save({"run": "a"}, step=1)
    assert not checkpoints.due()


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, lambda content: content[:-100], lambda content: b"", lambda content: content[100:]],
    ids=["bit flipped", "truncated", "empty", "header gone"],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save({"run": "a", "value": torch.full((1000,), float(step))}, step)
    newest = tmp_path / "step-000000000002.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        state = Checkpoints(tmp_path).load("a")
    assert state["value"][0] == 1
    assert "step-000000000002.ckpt is damaged and passed over" in caplog.text
    (tmp_path / "step-000000000001.ckpt").unlink()
    assert Checkpoints(tmp_path).load("a") is None


def test_the_newest_of_all_folders_is_used(tmp_path):
    for folder, step in (("old", 5), ("older", 7), ("new", 6)):
        Checkpoints(tmp_path / folder).save({"run": "a", "step": step}, step)
    also = [tmp_path / "old", tmp_path / "older", tmp_path / "missing"]
    assert Checkpoints(tmp_path / "new", also=also).load("a")["step"] == 7
    assert Checkpoints(tmp_path / "missing").load("a") is None


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path, caplog, uninterrupted):
    list(a_run(checkpoints=Checkpoints(tmp_path), should_stop=stop_after(4), seed=1))
    assert timeless(a_run(checkpoints=Checkpoints(tmp_path))) == uninterrupted[0]
    assert "of another run" in caplog.text


def test_a_full_disk_is_told_with_its_path_and_the_last_checkpoint_stays(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"run": "a", "step": 1}, step=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # a file that cannot grow, as on a full disk
    try:
        with pytest.raises(SaveError, match="bytes free") as full:
            checkpoints.save({"run": "a", "step": 2, "tensor": torch.zeros(100_000)}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.errno == errno.EFBIG
    assert full.value.filename == str(tmp_path / "step-000000000002.ckpt")
    assert os.listdir(tmp_path) == ["step-000000000001.ckpt"]
    assert checkpoints.load("a")["step"] == 1


def test_what_a_killed_save_left_is_no_checkpoint_and_is_removed(tmp_path):
    for folder in ("attempt-1", "attempt-2"):
        Checkpoints(tmp_path / folder).save({"run": "a", "step": 1}, step=1)
        (tmp_path / folder / "unfinished.tmp").write_bytes(b"half a checkpoint")
    checkpoints = Checkpoints(tmp_path / "attempt-2", also=[tmp_path / "attempt-1"])
    assert checkpoints.load("a")["step"] == 1
    assert checkpoints.passed_over == []
    assert not list(tmp_path.rglob("unfinished.tmp"))


def test_what_is_passed_over_is_told_with_the_reason(tmp_path):
    for run, step in (("a", 1), ("a", 2), ("b", 3)):
        Checkpoints(tmp_path).save({"run": run, "step": step}, step)
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "step-000000000002.ckpt").write_bytes(b"")
    assert checkpoints.load("a") is None  # only two are kept
    assert [sentence.removeprefix(f"{tmp_path}/") for sentence in checkpoints.passed_over] == [
        "step-000000000003.ckpt is of another run and passed over: it is of b, this is a",
        "step-000000000002.ckpt is damaged and passed over: its first line does not hold the checksum of the rest",
    ]


def test_the_checkpoints_of_earlier_attempts_go_once_this_one_has_enough_of_its_own(tmp_path):
    earlier = Checkpoints(tmp_path / "attempt-1")
    for step in (1, 2):
        earlier.save({"run": "a", "step": step}, step)
    checkpoints = Checkpoints(tmp_path / "attempt-2", also=[tmp_path / "attempt-1"])
    checkpoints.save({"run": "a", "step": 3}, step=3)
    assert len(list(tmp_path.rglob("*.ckpt"))) == 3
    checkpoints.save({"run": "a", "step": 4}, step=4)
    assert sorted(path.name for path in tmp_path.rglob("*.ckpt")) == [
        "step-000000000003.ckpt",
        "step-000000000004.ckpt",
    ]


class Bomb:
    """What a pickle can hold: a call that is made when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_would_execute_something_is_passed_over_though_its_checksum_holds(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"run": "a", "step": 1}, step=1)
    checkpoints.save({"run": "a", "step": 2, "bomb": Bomb(tmp_path / "exploded")}, step=2)
    assert checkpoints.load("a")["step"] == 1
    assert "step-000000000002.ckpt is damaged" in checkpoints.passed_over[0]
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [[1, 2], {"step": 2}, 7], ids=["list", "no run", "number"])
def test_a_whole_file_that_is_no_checkpoint_is_passed_over(tmp_path, content):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"run": "a", "step": 1}, step=1)
    checkpoints.save(content, step=2)
    assert checkpoints.load("a")["step"] == 1
