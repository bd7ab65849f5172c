"""A real campaign through Ray, its driver killed with SIGKILL at one forced point after the other, and gone on with."""

import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import faulty
from tuner.campaign import yaml_file
from tuner.campaign.fold import State
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

FAULTY = ["tests.faults.faulty.Raising", "tests.faults.faulty.NotFinite"]

EVERY_LINE = {
    **CONTENT,
    "methods": ["none", "mixup", *FAULTY],
    "spaces": dict.fromkeys(FAULTY, faulty.SPACE),
    "search": {"trials": 4, "audit": 0.5, "seed": 2},
}
"""A campaign whose ledger has lines of every kind, with every decision and every status."""

KILLS = [
    (moment, what, 1)
    for what in (
        "opened",
        "suggested",
        "resumed",
        "attempt",
        "continue",
        "complete",
        "completed",
        "failed",
        "diverged",
        "stop",
        "stopped",
        "audit",
        "audited",
    )
    for moment in ("before", "after")
]


def campaign_in(folder: Path) -> Path:
    path = folder / "killed.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml_file.dump({**EVERY_LINE, "storage": str(folder)}), encoding="utf-8")
    return path


def records_in(folder: Path) -> list[dict]:
    return [record for record, _ in read(folder / "killed" / "ledger.jsonl")]


def facts_of(folder: Path) -> list[dict]:
    """What the ledger says, without what may differ between two runs: times, attempts, seconds."""
    facts = []
    for record in records_in(folder):
        if record["kind"] in ("suggested", "result", "ended"):
            record.pop("time")
            record.get("row", {}).pop("seconds", None)
            facts.append(record)
    return facts


@pytest.fixture(scope="module")
def uninterrupted(head, tmp_path_factory) -> Path:
    """The folder of a campaign that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert head.drive(campaign_in(folder)) == 0
    return folder


def assert_as_uninterrupted(folder: Path, uninterrupted: Path) -> None:
    facts = facts_of(folder)
    for kind in ("suggested", "ended"):
        assert set(Counter(fact["trial"] for fact in facts if fact["kind"] == kind).values()) == {1}
    for trial in {fact["trial"] for fact in facts}:
        epochs = [fact["row"]["epoch"] for fact in facts if fact["trial"] == trial and fact["kind"] == "result"]
        assert epochs == list(range(1, len(epochs) + 1))
    # The very lines, in the very order: suggestions, decisions, and rows to the last bit.
    assert facts == facts_of(uninterrupted)
    state, whole = State.of(records_in(folder)), State.of(records_in(uninterrupted))
    for method in ("none", "mixup"):
        assert state.best(method).id == whole.best(method).id
        assert state.rules[method] == whole.rules[method]


def test_the_uninterrupted_campaign_has_a_line_of_every_kind(uninterrupted):
    records = records_in(uninterrupted)
    told = {value for r in records for value in (r["kind"], r.get("decision"), r.get("status"))}
    assert told | {"resumed"} == {what for _, what, _ in KILLS} | {"result", "ended", None}


@pytest.mark.timeout(900)
def test_killed_before_and_after_every_kind_of_line_it_ends_as_the_uninterrupted_run(
    tmp_path, head, uninterrupted, tally
):
    campaign = campaign_in(tmp_path)
    for kill in KILLS:
        assert head.drive(campaign, *kill) == -signal.SIGKILL, f"was not killed {' '.join(map(str, kill))}"
        tally.fault("driver killed")
    assert head.drive(campaign) == 0
    assert_as_uninterrupted(tmp_path, uninterrupted)
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")


@pytest.mark.timeout(600)
def test_killed_behind_five_lines_drawn_from_all_of_them_it_ends_as_the_uninterrupted_run(
    tmp_path, head, uninterrupted, tally
):
    campaign, lines = campaign_in(tmp_path), len(records_in(uninterrupted))
    for line in sorted(random.Random(0).sample(range(1, lines), 5)):
        assert head.drive(campaign, "after", "line", line) == -signal.SIGKILL, f"was not killed behind line {line}"
        assert len(records_in(tmp_path)) == line
        tally.fault("driver killed")
    assert head.drive(campaign) == 0
    assert_as_uninterrupted(tmp_path, uninterrupted)
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")
