"""Checkpoints killed half-way, cut, changed or deleted: the run ends as the uninterrupted one, bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_checkpoint import a_run, assert_same_weights, flip_a_bit, stop_after, timeless, weights_in
from tuner.training.checkpoint import UNFINISHED, Checkpoints

ROOT = Path(__file__).parents[2]

KILLED = """
import io, os, pathlib, signal, sys
from tests.test_checkpoint import a_run
from tuner.training.checkpoint import UNFINISHED, Checkpoints

folder, moment, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
met = 0


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Halved(io.FileIO):
    def write(self, content):
        super().write(content[: len(content) // 2])
        os.fsync(self.fileno())
        die()


def opened(path, *arguments):
    global met
    met += path.name == UNFINISHED
    if moment == "half" and met == count and path.name == UNFINISHED:
        return Halved(path, "w")
    return open_(path, *arguments)


def replaced(path, target):
    if moment == "whole" and met == count and path.name == UNFINISHED:
        die()
    return replace(path, target)


open_, replace = pathlib.Path.open, pathlib.Path.replace
pathlib.Path.open, pathlib.Path.replace = opened, replaced
list(a_run(checkpoints=Checkpoints(folder, every_seconds=0)))
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return timeless(a_run(checkpoints=Checkpoints(folder))), weights_in(folder)


@pytest.mark.parametrize("moment", ["half", "whole"])
def test_killed_inside_a_save_the_half_file_is_never_chosen_and_cleaned_up(tmp_path, uninterrupted, moment, tally):
    rows, weights = uninterrupted
    # The sixth save, before batch 5: by then two are kept.
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    command = [sys.executable, "-c", KILLED, str(first), moment, "6"]
    assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    tally.fault("worker killed")
    saved = ["step-000000000003.ckpt", "step-000000000004.ckpt"]
    assert sorted(os.listdir(first)) == [*saved, UNFINISHED]
    half = (first / UNFINISHED).stat().st_size
    assert half < 0.6 * (first / saved[1]).stat().st_size if moment == "half" else half > 0

    checkpoints = Checkpoints(second, also=[first])
    assert timeless(a_run(checkpoints=checkpoints)) == rows
    assert_same_weights(weights_in(second), weights)
    assert checkpoints.passed_over == []
    assert sorted(os.listdir(first)) == saved


DAMAGES = {
    "bit flipped": lambda path: path.write_bytes(flip_a_bit(path.read_bytes())),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("count", [1, 2], ids=["the newest", "all"])
def test_gone_on_from_the_one_before_or_from_the_start_bit_for_bit(tmp_path, uninterrupted, damage, count, tally):
    rows, weights = uninterrupted
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    list(a_run(checkpoints=Checkpoints(first, every_seconds=0), should_stop=stop_after(8)))
    saved = sorted(first.glob("*.ckpt"))
    assert [path.name for path in saved] == ["step-000000000007.ckpt", "step-000000000008.ckpt"]
    for path in saved[-count:]:
        damage(path)
        tally.fault("checkpoint damaged")
    checkpoints = Checkpoints(second, also=[first])
    repeated = []
    list(a_run(checkpoints=checkpoints, should_stop=lambda: not repeated.append(None)))
    [stopped_at] = second.glob("*.ckpt")
    assert stopped_at.name == ("step-000000000007.ckpt" if count == 1 else "step-000000000000.ckpt")
    deleted = damage is DAMAGES["deleted"]  # what is not there cannot be told of
    assert len(checkpoints.passed_over) == (0 if deleted else count)

    assert timeless(a_run(checkpoints=Checkpoints(second, also=[first]))) == rows
    assert_same_weights(weights_in(second), weights)
