"""A campaign on two nodes; one is killed, another joins: nothing is lost, and what joins is used."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.joined import Joined, children, runs, wait_until
from tests.search.test_tune_cli import CONTENT
from tuner.campaign import yaml_file
from tuner.campaign.ledger import read

TRIALS, EPOCHS = 10, 60


@pytest.fixture(scope="module")
def nodes(cluster) -> Joined:
    """A head that runs no trials."""
    return Joined(cluster, num_cpus=0)


def campaign_in(folder):
    content = {
        **CONTENT,
        "methods": ["none", "mixup"],
        "training": {**CONTENT["training"], "epochs": EPOCHS},
        "search": {"trials": 4, "scheduler": "fifo"},
        "final": {"seeds": [0], "select": "last"},
        "storage": str(folder),
    }
    path = folder / "two.yaml"
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    return path


def records_in(folder):
    ledger = folder / "two" / "ledger.jsonl"
    return [record for record, _ in read(ledger)] if ledger.exists() else []


def training(raylet: int) -> list[int]:
    """Its workers that carry trials: within a step they bear the name of the class that Ray Tune makes of ours."""
    return [pid for pid in children(raylet) if re.match("ray::(Campaign|Resource)Trainable", command_of(pid))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def kill(raylet: int) -> None:
    for process in (raylet, *children(raylet)):
        if runs(process):
            os.kill(process, signal.SIGKILL)


@pytest.mark.timeout(900)
def test_counts_stay_exact_while_nodes_come_and_go_and_say_it_when_none_is_left(tmp_path, nodes):
    first, second = nodes.add_node(num_cpus=1), nodes.add_node(num_cpus=1)
    command = ("tune.py", "run", str(campaign_in(tmp_path)), "--address", nodes.address)
    output = tmp_path / "output"

    def says(sentence: str) -> None:
        wait_until(lambda: sentence in output.read_text(), 240)

    with output.open("w") as screen, nodes.command(*command, stdout=screen, stderr=screen) as driver:
        try:
            # Both nodes train, and each for itself.
            wait_until(lambda: training(first) and training(second), 240)
            wait_until(lambda: ended(tmp_path) >= 2, 240)

            wait_until(lambda: training(first) and training(second))
            kill(first)
            kill(second)
            says("No node is left that has 1 CPU for a trial: waiting for one.")
            before, lost = ended(tmp_path), claimed(tmp_path)

            third = nodes.add_node(num_cpus=2)
            says("There is a node with room for a trial again: going on.")
            # What was one trial a node is two on this one: the number at once follows.
            wait_until(lambda: len(training(third)) == 2, 240)
            assert driver.wait(timeout=240) == 0, output.read_text()
        finally:
            driver.kill()
    assert ended(tmp_path) > before
    records = records_in(tmp_path)
    for kind in ("suggested", "ended"):
        trials = Counter(record["trial"] for record in records if record["kind"] == kind)
        assert len(trials) == TRIALS
        assert set(trials.values()) == {1}
    for trial in trials:
        epochs = [r["row"]["epoch"] for r in records if r["kind"] == "result" and r["trial"] == trial]
        assert epochs == list(range(1, EPOCHS + 1))
    assert {record["status"] for record in records if record["kind"] == "ended"} == {"completed"}
    # What was trained on the lost nodes was taken up once more, and nothing else.
    attempts = {record["trial"]: record["attempt"] for record in records if record["kind"] == "attempt"}
    assert lost
    assert attempts == {trial: 2 if trial in lost else 1 for trial in attempts}
    assert output.read_text().count("No node is left") == 1


def claimed(folder) -> set[str]:
    """The trials that a worker has begun and that have not ended."""
    over = {record["trial"] for record in records_in(folder) if record["kind"] == "ended"}
    return {path.parent.name for path in (folder / "two" / "trials").glob("*/attempt-1")} - over


def ended(folder) -> int:
    return sum(record["kind"] == "ended" for record in records_in(folder))
