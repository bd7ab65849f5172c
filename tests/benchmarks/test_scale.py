"""The scale benchmark, short: a real Ray, ten studies at once, and what only a concurrent campaign can show."""

import pytest

from benchmarks import scale, simulated
from tuner.campaign import ledger
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.simulation import most_at_once, replay

STUDIES, TRIALS, ACTORS = 10, 30, 4


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def found(storage, ray_folder) -> scale.Measured:
    return scale.measure(storage, ray_folder, TRIALS, STUDIES, epochs=20, actors=ACTORS)


@pytest.fixture(scope="module")
def records(found, storage) -> list[dict]:
    return [record for record, _ in ledger.read(Folder(storage / "scale").ledger)]


def test_every_trial_is_carried_to_its_end_once(found, records):
    state = State.of(records)
    assert found.trials == len(state.trials) == STUDIES * (TRIALS + 2)
    assert {trial.status for trial in state.trials.values()} == {"completed", "stopped", "audited"}
    assert all(trial.attempt == 1 for trial in state.trials.values())
    assert [row["epoch"] for trial in state.trials.values() for row in trial.rows if not trial.ended] == []


def test_the_figures_are_those_of_the_ledger(found, records):
    finals = {record["trial"] for record in records if record.get("trial_kind") == "final"}
    results = [record for record in records if record["kind"] == "result" and record["trial"] not in finals]
    assert found.results == len(results)
    assert found.seconds == pytest.approx(results[-1]["time"] - results[0]["time"])
    assert sum(found.tenths) / 10 == pytest.approx(found.rate)
    assert 0 < found.mirrored <= found.trials + STUDIES


def test_the_driver_stays_small_and_cheap(found):
    assert found.driver_memory < 2048
    assert found.driver_cpu / found.trials < 0.2  # seconds; wall time is the machine's affair


def test_the_concurrent_campaign_is_decided_again_as_it_was(found, records):
    state = State.of(records)
    assert most_at_once(state) == ACTORS
    again = replay(records, state.document.search)
    searched = [trial for trial in state.trials.values() if trial.kind == "search"]
    assert len(again.trials) == len(searched) == STUDIES * TRIALS
    assert sum(trial.pruned_at is not None for trial in searched) > STUDIES
    for trial in searched:
        then = again.trials[trial.id]
        assert (then.pruned_at, then.decision, then.epoch) == (trial.pruned_at, trial.decision, trial.epoch)


def test_a_simulated_curve_depends_on_its_setting_alone():
    document = simulated.document("/nowhere", "x", ["none"], 4, 1, {"trials": 1})
    run = simulated.SimulatedRun(
        dataset=document.dataset,
        split=document.split,
        model=document.model,
        method="none",
        hyperparameters={},
        training=document.training,
        seed=3,
    )
    assert list(run.rows("cpu")) == list(run.rows("cpu"))
