"""SIGTERM, and Ctrl-C twice: `tune.py` ends in time, leaves no process behind, and the same command goes on."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.faulty import SPACE
from tests.faults.joined import bearing, wait_until
from tests.search.test_tune_cli import CONTENT
from tuner.campaign import yaml_file
from tuner.campaign.ledger import read

ROOT = Path(__file__).parents[2]

SLOW = "tests.faults.slow_method.Slow"

LIMIT = 10.0
"""Seconds until the end, besides what is left of the batch."""


def campaign_in(folder: Path, seconds: float) -> Path:
    path = folder / "two.yaml"
    content = {
        **CONTENT,
        "methods": [{"name": SLOW, "folder": str(folder), "seconds": seconds}],
        "search": {"trials": 1},
        "final": {"seeds": [0]},
        "spaces": {"shared": {}, SLOW: SPACE},
        "storage": str(folder / "runs"),
    }
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    return path


def records_in(folder: Path) -> list[dict]:
    return [record for record, _ in read(folder / "runs" / "two" / "ledger.jsonl")]


class Driver:
    """`tune.py` in a session of its own; every process that comes from it bears its mark."""

    def __init__(self, campaign: Path, ray_folder: str):
        self.mark = f"REGTUNE_TEST={secrets.token_hex(8)}"
        name, _, value = self.mark.partition("=")
        changed = {"RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tune.py"), str(campaign)],
            env={**os.environ, **changed, name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def left(self) -> list[int]:
        """The processes that come from it and still run."""
        return bearing(self.mark)

    def end(self) -> str:
        """What it printed, once it has ended by itself."""
        output, _ = self.process.communicate(timeout=240)
        return output

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def assert_whole(folder: Path, attempts: int) -> None:
    """One search trial and one final one, each ended once with epochs 1 to 4; the first took so many attempts."""
    records = records_in(folder)
    kinds = Counter(record["kind"] for record in records)
    resumed = {"resumed": attempts - 1} if attempts > 1 else {}
    assert kinds == {"opened": 1, **resumed, "suggested": 2, "attempt": attempts + 1, "result": 8, "ended": 2}
    assert {record["status"] for record in records if record["kind"] == "ended"} == {"completed"}
    epochs = Counter((record["trial"], record["row"]["epoch"]) for record in records if record["kind"] == "result")
    assert set(epochs.values()) == {1}


@pytest.mark.timeout(500)
def test_sigterm_in_a_slow_batch_saves_the_position_behind_it(tmp_path, ray_folder, tally):
    campaign, batch = campaign_in(tmp_path, seconds=3), 3.0
    with Driver(campaign, ray_folder) as driver:
        wait_until((tmp_path / "slow").exists, 120)
        driver.process.send_signal(signal.SIGTERM)
        tally.fault("signal")
        sent = time.monotonic()
        output = driver.end()
        took = time.monotonic() - sent
        assert driver.process.returncode == 143, output
        assert driver.left() == []
    assert f"Go on with: uv run {ROOT / 'tune.py'} {campaign}" in output
    assert took < LIMIT + batch
    [saved] = (tmp_path / "runs" / "two" / "trials").rglob("*.ckpt")
    assert int(saved.stem.removeprefix("step-")) in (5, 6)  # behind the batch that has begun, its fourth or fifth step

    with Driver(campaign, ray_folder) as driver:
        output = driver.end()
        assert driver.process.returncode == 0, output
    assert_whole(tmp_path, attempts=2)
    tally.ledger(tmp_path / "runs" / "two" / "ledger.jsonl")


@pytest.mark.timeout(500)
def test_ctrl_c_twice_does_not_wait_for_the_batch(tmp_path, ray_folder, tally):
    campaign = campaign_in(tmp_path, seconds=60)
    with Driver(campaign, ray_folder) as driver:
        wait_until((tmp_path / "slow").exists, 120)
        # As a terminal does it: every process of the group gets the signal.
        os.killpg(driver.process.pid, signal.SIGINT)
        wait_until((tmp_path / "runs" / "two" / "stop").exists, 10)
        os.killpg(driver.process.pid, signal.SIGINT)
        tally.fault("signal", 2)
        sent = time.monotonic()
        output = driver.end()
        took = time.monotonic() - sent
        assert driver.process.returncode == 130, output
        assert driver.left() == []
    assert f"Go on with: uv run {ROOT / 'tune.py'} {campaign}" in output
    assert took < LIMIT
    assert "ended" not in {record["kind"] for record in records_in(tmp_path)}

    with Driver(campaign, ray_folder) as driver:
        output = driver.end()
        assert driver.process.returncode == 0, output
    records = records_in(tmp_path)
    assert_whole(tmp_path, attempts=sum(record["kind"] == "attempt" for record in records) - 1)
    tally.ledger(tmp_path / "runs" / "two" / "ledger.jsonl")
