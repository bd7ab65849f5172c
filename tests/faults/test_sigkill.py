"""A real campaign through Ray, its driver killed with SIGKILL at one forced point after the other, and gone on with."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tuner.campaign import yaml_file
from tuner.campaign.ledger import read

CONTENT = {
    "name": "killed",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 5, "validation_per_class": 5},
    "model": {"name": "preactresnet18", "width": 4, "blocks": [1, 1, 1, 1]},
    "methods": ["none", "mixup"],
    "training": {"epochs": 4, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 4, "audit": 0},
    "final": {"seeds": [0, 1], "select": "last"},
    "resources": {"max_concurrent": 1},  # so that later suggestions have to be those of the uninterrupted run
}

KILLS = [
    ("before", "suggested", 2),
    ("after", "suggested", 2),
    ("before", "stop", 1),
    ("after", "stop", 1),
    ("before", "ended", 1),
    ("after", "ended", 1),
]


def drive(campaign: Path, ray_folder: str, *kill) -> int:
    environment = {**os.environ, "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults.driver", str(campaign), *map(str, kill)]
    return subprocess.run(command, env=environment, timeout=240, cwd=Path(__file__).parents[2]).returncode


def campaign_in(folder: Path) -> Path:
    path = folder / "killed.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml_file.dump({**CONTENT, "storage": str(folder)}), encoding="utf-8")
    return path


def facts_of(folder: Path) -> list[dict]:
    """What the ledger says, without what may differ between two runs: times, attempts, seconds."""
    facts = []
    for record, _ in read(folder / "killed" / "ledger.jsonl"):
        if record["kind"] in ("suggested", "result", "ended"):
            record.pop("time")
            record.get("row", {}).pop("seconds", None)
            facts.append(record)
    return facts


@pytest.mark.timeout(900)
def test_killed_six_times_it_ends_as_the_uninterrupted_run(tmp_path, ray_folder):
    uninterrupted, killed = campaign_in(tmp_path / "whole"), campaign_in(tmp_path / "cut")
    assert drive(uninterrupted, ray_folder) == 0
    for kill in KILLS:
        assert drive(killed, ray_folder, *kill) == -signal.SIGKILL, f"was not killed {' '.join(map(str, kill))}"
    assert drive(killed, ray_folder) == 0

    facts = facts_of(tmp_path / "cut")
    counts = Counter(record["kind"] for record in facts)
    assert counts["suggested"] == counts["ended"] == 2 * (4 + 2)
    assert len({record["trial"] for record in facts if record["kind"] == "ended"}) == 12
    for trial in {record["trial"] for record in facts}:
        epochs = [record["row"]["epoch"] for record in facts if record["trial"] == trial and record["kind"] == "result"]
        assert epochs == list(range(1, len(epochs) + 1))
    # The very lines, in the very order: suggestions, decisions, and rows to the last bit.
    assert facts == facts_of(tmp_path / "whole")
