"""`tune.py plan` and `tune.py extend` as a user types them, on a real campaign."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tuner.campaign import yaml_file
from tuner.campaign.fold import State
from tuner.campaign.ledger import read
from tuner.campaign.lock import Lock

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]

CONTENT = {
    "name": "more",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 3, "validation_per_class": 3},
    "model": {"name": "preactresnet18", "width": 4, "blocks": [1, 1, 1, 1]},
    "methods": ["none"],
    "training": {"epochs": 2, "batch_size": 15, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 2, "scheduler": "fifo"},
    "final": {"seeds": [0, 1], "select": "last"},
}


@pytest.fixture(scope="module")
def environment(ray_folder):
    return {**os.environ, "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def tune(environment):
    def run(*arguments):
        command = [sys.executable, str(ROOT / "tune.py"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, cwd=ROOT)

    return run


def state_in(folder):
    return State.of(record for record, _ in read(folder / "runs" / "more" / "ledger.jsonl"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    content = yaml_file.dump({**CONTENT, "storage": str(folder / "runs")})
    (folder / "more.yaml").write_text(content, encoding="utf-8")
    return folder


def test_plan_trains_nothing_and_says_what_it_would_cost(tune, folder):
    outcome = tune("plan", folder / "more.yaml", "--price", 2.5)
    assert outcome.returncode == 0, outcome.stderr
    for part in (
        "4 trials, 8 epochs at most and about 8 expected",
        "CPU-hours",
        "at 2.5 a CPU-hour",
        "Wall time: about ",
        "on 64 workers",
        "Disk: up to ",
        "2 trials each: the methods will be ranked",
    ):
        assert part in outcome.stdout
    assert not (folder / "runs").exists()


def test_plan_without_the_hardware_that_trials_ask_for_still_counts(tune, folder):
    path = folder / "gpu.yaml"
    path.write_text(yaml_file.dump({**CONTENT, "resources": {"gpu": 1, "cpu": 4096}}), encoding="utf-8")
    outcome = tune("plan", path)
    assert outcome.returncode == 0, outcome.stderr
    assert "No step can be measured here" in outcome.stdout
    assert "4 trials, 8 epochs at most" in outcome.stdout
    assert "Wall time" not in outcome.stdout


@pytest.fixture(scope="module")
def extended(tune, folder):
    """A finished campaign, its ledger, and what came of it when it was extended."""
    first = tune(folder / "more.yaml")
    assert first.returncode == 0, first.stdout + first.stderr
    before = (folder / "runs" / "more" / "ledger.jsonl").read_bytes()
    options = ["--trials", "+1", "--methods", "+mixup", "+cutout", "--seeds", "+1"]
    outcome = tune("extend", "more", *options, "--storage", folder / "runs")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return before, outcome


def test_what_was_added_runs_and_what_still_counts_does_not_run_again(extended, folder):
    before, _ = extended
    ledger = (folder / "runs" / "more" / "ledger.jsonl").read_bytes()
    assert ledger.startswith(before)
    state = state_in(folder)
    assert Counter(trial.study for trial in state.trials.values() if trial.kind == "search") == {
        "none": 3,
        "mixup": 3,
        "cutout": 3,
    }
    assert {study: [trial.seed for trial in state.finals(study)] for study in ("none", "mixup", "cutout")} == {
        "none": [0, 1, 2],
        "mixup": [0, 1, 2],
        "cutout": [0, 1, 2],
    }
    assert all(trial.status == "completed" for trial in state.trials.values())
    again = Counter(
        record["trial"]
        for record, _ in read(folder / "runs" / "more" / "ledger.jsonl")
        if record["kind"] == "suggested"
    )
    assert set(again.values()) == {1}


def test_the_report_and_the_status_are_those_of_the_whole(extended, tune, folder):
    _, outcome = extended
    assert "No difference shown" in outcome.stdout or "Shown" in outcome.stdout
    status = tune("status", "more", "--storage", folder / "runs")
    assert "more: complete" in status.stdout
    assert sum("3/3" in line for line in status.stdout.splitlines()) == 3


def test_the_file_that_it_was_begun_with_goes_on_with_it(extended, tune, folder):
    before = (folder / "runs" / "more" / "ledger.jsonl").read_bytes()
    outcome = tune(folder / "more.yaml")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert (folder / "runs" / "more" / "ledger.jsonl").read_bytes() == before


def test_all_that_is_wrong_is_refused_and_nothing_is_written(extended, tune, folder):
    ledger = folder / "runs" / "more" / "ledger.jsonl"
    before = ledger.read_bytes()
    outcome = tune("extend", "more", "--trials", "8", "--methods", "+mixup", "--storage", folder / "runs")
    assert outcome.returncode == 2
    assert "Write +8 for 8 more, or +5 for 8 in all." in outcome.stderr
    assert '"mixup" is in the campaign already' in outcome.stderr
    assert ledger.read_bytes() == before
    with closing(Lock(ledger)):
        outcome = tune("extend", "more", "--seeds", "+1", "--storage", folder / "runs")
    assert outcome.returncode == 2
    assert "this campaign already runs" in outcome.stderr
    assert ledger.read_bytes() == before


def test_a_spent_budget_is_said_and_can_be_raised(folder):
    content = {**CONTENT, "name": "spent", "storage": str(folder / "spent")}
    content["search"] = {"trials": 3, "scheduler": "fifo", "budget": {"epochs": 2}}
    (folder / "spent.yaml").write_text(yaml_file.dump(content), encoding="utf-8")

    def extended(*options):
        command = [sys.executable, "-m", "tests.faults.bare_driver", "never", *options]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
        assert outcome.returncode == 0, outcome.stderr
        state = State.of(record for record, _ in read(folder / "spent" / "spent" / "ledger.jsonl"))
        return outcome.stdout, len(state.searched("none"))

    assert extended("run", str(folder / "spent.yaml"))[1] == 1
    options = ("extend", "spent", "--storage", str(folder / "spent"))
    said, trials = extended(*options, "--trials", "+1")
    assert trials == 1
    assert "No budget is left to search none any further; --budget epochs=+N adds to it." in said
    said, trials = extended(*options, "--budget", "epochs=+3")
    assert trials == 3  # of two epochs each, the last begun with one epoch left
    assert "No budget" not in said
