"""When a worker ends itself: its trial was ended by another one, which nobody tells it."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORKER = """
import sys
import time
from pathlib import Path
from tuner.search import watch

watch.SECONDS = 0.05
watched = watch.start()
if "steps" in sys.argv:
    watched.training = Path(sys.argv[1])
print("begun", flush=True)
time.sleep(60)
"""


@contextmanager
def working(attempt, *steps):
    """A worker whose raylet is this process, once it has begun."""
    environment = {**os.environ, "RAY_RAYLET_PID": str(os.getpid())}
    command = [sys.executable, "-c", WORKER, str(attempt), *steps]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def attempt(tmp_path):
    folder = tmp_path / "trials" / "mixup-000" / "attempt-1"
    folder.mkdir(parents=True)
    return folder


def test_the_trial_was_ended_and_its_folder_deleted(attempt):
    with working(attempt, "steps") as process:
        shutil.rmtree(attempt.parent)
        assert process.wait(timeout=30) == 1
        assert b"another worker has ended this trial" in process.stderr.read()


def test_between_two_steps_its_own_driver_may_delete_the_folder(attempt):
    with working(attempt) as process:
        shutil.rmtree(attempt.parent)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)


def test_where_the_disk_is_away_nothing_is_known(attempt):
    with working(attempt, "steps") as process:
        shutil.rmtree(attempt.parents[1])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
