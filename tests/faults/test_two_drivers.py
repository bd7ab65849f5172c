"""Two drivers on one campaign folder: the second is refused, or goes on in the place of the first."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.search.test_tune_cli import CONTENT
from tuner.campaign import reading, yaml_file
from tuner.campaign.campaign import Campaign
from tuner.campaign.ledger import read
from tuner.campaign.lock import Lock
from tuner.campaign.preflight import Facts

ROOT = Path(__file__).parents[2]

SMALL = {**CONTENT, "methods": ["none", "mixup"], "search": {"trials": 4, "audit": 0}, "final": {"seeds": [0, 1]}}
TRIALS = 2 * (4 + 2)


def campaign_in(folder: Path, **changed) -> Path:
    path = folder / "two.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml_file.dump({**SMALL, "storage": str(folder / "runs"), **changed}), encoding="utf-8")
    return path


def ledger_of(campaign: Path) -> Path:
    return campaign.parent / "runs" / "two" / "ledger.jsonl"


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.faults.bare_driver", "never", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


@contextmanager
def holding(hold: str, *command: str, **environment: str):
    """A driver that has come to the line before which it holds."""
    with subprocess.Popen(
        [sys.executable, *command[:2], hold, *command[2:]],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            while (line := process.stdout.readline()) != "holding\n":
                assert line, process.stderr.read()
            yield process
        finally:
            process.kill()


def facts_of(ledger: Path) -> list[dict]:
    """What the ledger says, without what may differ between two runs: times, attempts, seconds."""
    facts = []
    for record, _ in read(ledger):
        if record["kind"] in ("suggested", "result", "ended"):
            record.pop("time")
            record.get("row", {}).pop("seconds", None)
            facts.append(record)
    return facts


def assert_whole(ledger: Path) -> None:
    """Every trial suggested and ended once, its epochs 1 to n."""
    facts = facts_of(ledger)
    for kind in ("suggested", "ended"):
        assert Counter(Counter(fact["trial"] for fact in facts if fact["kind"] == kind).values()) == {1: TRIALS}
    for trial in {fact["trial"] for fact in facts}:
        epochs = [fact["row"]["epoch"] for fact in facts if fact["trial"] == trial and fact["kind"] == "result"]
        assert epochs == list(range(1, len(epochs) + 1))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> list[dict]:
    campaign = campaign_in(tmp_path_factory.mktemp("uninterrupted"))
    outcome = run("run", campaign)
    assert outcome.returncode == 0, outcome.stderr
    assert_whole(ledger_of(campaign))
    return facts_of(ledger_of(campaign))


BARE = ("-m", "tests.faults.bare_driver")


def test_the_second_is_refused_with_the_number_of_the_first_and_goes_on_at_once_when_that_is_killed(
    tmp_path, uninterrupted, tally
):
    campaign = campaign_in(tmp_path)
    with holding("ended:3", *BARE, "run", str(campaign)) as first:
        before = ledger_of(campaign).read_bytes()
        refused = run("run", campaign)
        assert refused.returncode == 2
        tally.fault("second driver")
        assert f"process {first.pid} on" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert ledger_of(campaign).read_bytes() == before
        os.kill(first.pid, signal.SIGKILL)
        tally.fault("driver killed")
        second = run("run", campaign)
        assert second.returncode == 0, second.stderr
        assert re.search(rf"process {first.pid} .* was killed; this one goes on", second.stdout)
    assert_whole(ledger_of(campaign))
    tally.ledger(ledger_of(campaign))
    assert facts_of(ledger_of(campaign)) == uninterrupted
    assert not ledger_of(campaign).with_suffix(".lock").exists()


def test_taken_over_the_first_stops_at_its_next_record_and_nothing_of_it_is_recorded(tmp_path, uninterrupted, tally):
    campaign = campaign_in(tmp_path)
    with (
        holding("ended:3", *BARE, "run", str(campaign)) as first,
        holding("ended:5", *BARE, "run", str(campaign), "--take-over") as second,
    ):
        during = ledger_of(campaign).read_bytes()
        _, complaint = first.communicate("\n", timeout=60)
        assert first.returncode == 1
        assert f"taken over by process {second.pid} on" in complaint
        assert "Traceback" not in complaint
        assert ledger_of(campaign).read_bytes() == during
        _, complaint = second.communicate("\n", timeout=60)
        assert second.returncode == 0, complaint
    assert_whole(ledger_of(campaign))
    tally.fault("driver replaced")
    tally.ledger(ledger_of(campaign))
    assert facts_of(ledger_of(campaign)) == uninterrupted


def test_a_run_that_was_taken_over_cannot_stop_the_one_that_took_it(tmp_path):
    document = reading.load(campaign_in(tmp_path))
    facts = Facts(50, 50, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")
    first = Campaign.open(document, facts)
    second = Campaign.open(document, facts, Lock(first.folder.ledger, take_over=True))
    first.stop()
    assert not second.folder.stop_file.exists()
    second.stop()
    assert second.folder.stop_file.exists()
    first.close()
    second.close()


def test_a_damaged_ledger_is_refused_and_repaired_when_that_is_asked_for(tmp_path, uninterrupted, tally):
    campaign = campaign_in(tmp_path)
    assert run("run", campaign).returncode == 0
    ledger = ledger_of(campaign)
    lines = ledger.read_bytes().splitlines(keepends=True)
    lines[20] = lines[20].replace(b'"epoch":', b'"epoxh":')
    ledger.write_bytes(b"".join(lines))

    refused = run("run", campaign)
    assert refused.returncode == 2
    assert "line 21 is damaged" in refused.stderr
    tally.fault("ledger damaged")
    assert "--repair" in refused.stderr
    assert ledger.read_bytes() == b"".join(lines)

    repaired = run("run", campaign, "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert f"damaged in line 21 and is cut off before it: 20 lines are left, {len(lines) - 20} are lost" in (
        repaired.stdout
    )
    [backup] = ledger.parent.glob("ledger.jsonl.damaged-*")
    assert backup.read_bytes() == b"".join(lines)
    assert ledger.read_bytes().startswith(b"".join(lines[:20]))
    assert_whole(ledger)
    tally.ledger(ledger)
    assert facts_of(ledger) == uninterrupted

    sound = run("rerun", campaign, "--repair")
    assert sound.returncode == 0
    assert "nothing to repair" in sound.stdout
    assert list(ledger.parent.glob("ledger.jsonl.damaged-*")) == [backup]


REAL = """
import sys
import tune
from tests.faults.bare_driver import hold_before
kind, count = sys.argv.pop(1).split(":")
hold_before(kind, int(count))
tune.main()
"""


@pytest.mark.timeout(400)
def test_a_real_campaign_is_taken_over_while_it_trains(tmp_path, ray_folder, tally):
    campaign = campaign_in(tmp_path)
    environment = {"RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with (
        holding("ended:2", "-c", REAL, "run", str(campaign), **environment) as first,
        holding("ended:1", "-c", REAL, "run", str(campaign), "--take-over", **environment) as second,
    ):
        # Not waited for by `communicate`, but to its very end: Ray's processes share its output.
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.wait(timeout=120) == 1
        complaint = first.stderr.read()
        assert f"taken over by process {second.pid} on" in complaint
        assert "Traceback" not in complaint
        output, complaint = second.communicate("\n", timeout=240)
        assert second.returncode == 0, output + complaint
    assert_whole(ledger_of(campaign))
    tally.fault("driver replaced")
    tally.ledger(ledger_of(campaign))
