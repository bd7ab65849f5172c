"""Wherever a campaign's ledger ends, the campaign that goes on from there ends as the uninterrupted one did."""

import pytest

from tests.search.simulated import carry
from tuner.campaign import reading
from tuner.campaign.ledger import read

CONTENT = {
    "name": "cut",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 5, "validation_per_class": 5},
    "model": {"name": "preactresnet18", "width": 4},
    "methods": ["none", "mixup"],
    "training": {"epochs": 8, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 8, "audit": 0.5},
    "final": {"seeds": [0, 1], "select": "last"},
}


def in_folder(path, **search):
    return reading.check({**CONTENT, "storage": str(path), "search": {**CONTENT["search"], **search}}, "cut.yaml")


def outcome(ledger):
    """Every fact of a ledger but attempts and times, trial by trial: what has to be the same."""
    facts = {}
    for record, _ in read(ledger):
        if record["kind"] not in ("opened", "resumed", "attempt"):
            facts.setdefault(record["trial"], []).append({k: v for k, v in record.items() if k != "time"})
    return facts


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return carry(in_folder(tmp_path_factory.mktemp("uninterrupted"))).folder.ledger


def test_the_uninterrupted_campaign_has_every_kind_of_ending(uninterrupted):
    statuses = [record["status"] for record, _ in read(uninterrupted) if record["kind"] == "ended"]
    assert set(statuses) == {"completed", "stopped", "audited"}
    assert len(statuses) == 2 * (8 + 2)


def test_cut_behind_any_line_it_ends_as_the_uninterrupted_one(uninterrupted, tmp_path):
    for count in range(1, len(uninterrupted.read_bytes().splitlines())):
        assert_goes_on(uninterrupted, count, tmp_path)


@pytest.mark.parametrize(
    ("search", "cuts"),
    [
        ({"sampler": "random", "scheduler": "hyperband", "grace": 1}, 12),
        ({"sampler": "cmaes", "scheduler": "median", "grace": 2, "trials": 16}, 12),
        ({"sampler": "grid", "scheduler": "fifo"}, 12),
        ({"sampler": "gp", "scheduler": "asha", "replicates": 2, "trials": 6}, 2),
    ],
    ids=lambda value: value["sampler"] if isinstance(value, dict) else None,
)
def test_so_it_does_with_every_sampler_and_scheduler(search, cuts, tmp_path):
    campaign = carry(in_folder(tmp_path / "whole", **search))
    whole, lines = campaign.folder.ledger, len(campaign.folder.ledger.read_bytes().splitlines())
    statuses = {trial.status for trial in campaign.state.trials.values()}
    assert ("stopped" in statuses) == (search["scheduler"] != "fifo")
    for cut in range(1, cuts + 1):
        assert_goes_on(whole, cut * lines // (cuts + 1), tmp_path, **search)


def assert_goes_on(whole, count, tmp_path, **search):
    """Carries the campaign on from the first `count` lines of its ledger."""
    storage = tmp_path / str(count)
    ledger = storage / "cut" / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    document_of_cut = in_folder(storage, **search)
    ledger.write_bytes(b"".join(_moved(whole.read_bytes().splitlines(keepends=True)[:count], document_of_cut)))
    carry(document_of_cut)
    assert outcome(ledger) == outcome(whole), f"cut behind line {count}"


def test_a_finished_campaign_has_nothing_left_to_do(uninterrupted):
    before = uninterrupted.read_bytes()
    carry(in_folder(uninterrupted.parents[1]))
    assert uninterrupted.read_bytes() == before


def _moved(lines, document_of_cut):
    """The same ledger, begun in another storage folder: its first line holds the document."""
    from tuner.campaign.ledger import decode, encode

    opened = decode(lines[0].rstrip(b"\n"))
    return [encode({**opened, "document": document_of_cut.as_yaml()}), *lines[1:]]
