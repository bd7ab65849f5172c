"""Simulations of recorded campaigns: they decide as the campaign did, and say what they assume."""

import random
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.campaign import ledger, reading
from tuner.campaign.agenda import Ask, Refit, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.faults import DocumentError
from tuner.campaign.fold import State
from tuner.campaign.ledger import LedgerError
from tuner.campaign.preflight import Facts
from tuner.campaign.settings import Budget
from tuner.campaign.simulation import Setup, most_at_once, recorded, replay, simulate
from tuner.campaign.simulation_setups import setups

FACTS = Facts(50, 50, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")
SCHEDULERS = ("asha", "hyperband", "median", "fifo")


def carried(document, draw: random.Random, workers: int, diverging: float = 0.0):
    """A campaign carried to its end with random curves, whose workers hand over in a random order."""
    with closing(Campaign.open(document, FACTS)) as campaign:
        at: dict[str, int] = {}
        while True:
            step = next_step(campaign.state, set(at)) if len(at) < workers else "wait"
            if isinstance(step, Ask):
                at[campaign.suggest_search(step.study, step.number, {"lr": draw.random()}, {}).id] = 0
            elif isinstance(step, Refit):
                at[campaign.suggest_final(step.study, step.best, step.seed).id] = 0
            elif not at:
                return campaign.folder
            else:
                _hand_over(campaign, at, draw.choice(list(at)), draw, diverging)


def _hand_over(campaign, at, name, draw, diverging):
    trial, epochs = campaign.state.trials[name], campaign.document.training.epochs
    rule, rows, status = campaign.state.rules[trial.study], [], "running"
    for epoch in range(at[name] + 1, at[name] + 1 + draw.randint(1, 3)):
        if epoch > epochs:
            break
        if trial.kind == "search" and draw.random() < diverging:
            status = "diverged"
            break
        error = draw.randint(0, 20) / 20  # ties are to come
        rows.append({"epoch": epoch, "val_error": error, "val_nll": draw.random(), "seconds": draw.randint(1, 9)})
        if trial.kind == "search" and epoch in rule.epochs(trial.number):
            break
    at[name] += len(rows)
    error = {"class": "Diverged", "message": "nan"} if status == "diverged" else None
    if not campaign.receive(Report(name, 1, rows, status, error)):
        del at[name]


def records_of(folder):
    return [record for record, _ in ledger.read(folder.ledger)]


def outcomes(state):
    """All that was decided on search trials."""
    return {
        trial.id: (trial.epoch, trial.decision, trial.pruned_at, trial.status)
        for trial in state.trials.values()
        if trial.kind == "search"
    }


def document_with(small, storage, **search):
    content = small.as_yaml() | {"storage": str(storage)}
    content["search"] |= search
    return reading.check(content, "small.yaml")


@settings(max_examples=40, deadline=None)
@given(draw=st.randoms(use_true_random=False), scheduler=st.sampled_from(SCHEDULERS), workers=st.integers(1, 5))
def test_in_the_recorded_order_the_own_scheduler_decides_as_recorded(tmp_path_factory, draw, scheduler, workers):
    document = reading.check(
        {
            **_SMALL,
            "storage": str(tmp_path_factory.mktemp("runs")),
            "search": {"trials": 12, "audit": 0.3, "scheduler": scheduler, "grace": 2},
        },
        "small.yaml",
    )
    records = records_of(carried(document, draw, workers, diverging=0.02))
    assert outcomes(replay(records, document.search)) == outcomes(State.of(records))


_SMALL = {
    "name": "small",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 5, "validation_per_class": 5},
    "model": {"name": "preactresnet18", "width": 4},
    "methods": ["none", "mixup"],
    "training": {"epochs": 8, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "final": {"seeds": [0], "select": "last"},
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_with_one_worker_everything_happens_as_it_did(small, tmp_path, scheduler):
    document = document_with(small, tmp_path, trials=9, audit=0.3, scheduler=scheduler, grace=2)
    records = records_of(carried(document, random.Random(1), workers=1))
    state = State.of(records)
    was, again = recorded(state), simulate(state, Setup(document.search, workers=1))
    assert (again.chosen, again.stopped, again.regret) == (was.chosen, was.stopped, was.regret)
    assert again.spent.epochs == was.spent.epochs
    assert again.extended == ()
    assert again.wall_seconds == pytest.approx(again.spent.seconds)
    searched = [trial for trial in state.trials.values() if trial.kind == "search"]
    assert again.spent.seconds > sum(trial.seconds for trial in searched)


def test_what_no_curve_tells_is_assumed_and_counted(small, tmp_path):
    document = document_with(small, tmp_path, trials=8, audit=0, grace=2)
    state = State.of(records_of(carried(document, random.Random(2), workers=3)))
    stopped = [trial for trial in state.trials.values() if trial.pruned_at]
    assert stopped
    played = simulate(state, Setup(document.search.model_copy(update={"scheduler": "fifo"}), workers=1))
    assert set(played.extended) == {trial.id for trial in stopped}
    assert played.extended_epochs == sum(8 - trial.epoch for trial in stopped)
    assert played.stopped == 0
    search = [trial for trial in state.trials.values() if trial.kind == "search"]
    finals = [trial for trial in state.trials.values() if trial.kind == "final"]
    whole = sum(trial.seconds * 8 / trial.epoch for trial in search) + sum(trial.seconds for trial in finals)
    assert played.wall_seconds == pytest.approx(whole)


def test_the_last_validation_is_carried_forward(small, tmp_path):
    document = document_with(small, tmp_path, trials=1, audit=0)
    with closing(Campaign.open(document, FACTS)) as campaign:
        for study in document.studies:
            trial = campaign.suggest_search(study, 0, {"lr": 0.1}, {})
            rows = [{"epoch": e, "val_error": 0.5 / e, "val_nll": 1.0, "seconds": 2.0} for e in (1, 2)]
            campaign.receive(Report(trial.id, 1, rows))
        played = simulate(campaign.state, Setup(document.search, workers=4))
    assert played.chosen == {"none": 0, "mixup": 0}
    assert played.regret == {"none": None, "mixup": None}  # nothing was recorded at full length
    assert played.extended_epochs == 12
    assert played.wall_seconds == 32  # a trial of 8 epochs, then a final trial, two studies side by side


def test_more_workers_take_less_time_and_the_same_work(small, tmp_path):
    document = document_with(small, tmp_path, trials=8, scheduler="fifo")
    state = State.of(records_of(carried(document, random.Random(3), workers=4)))
    one, four = (simulate(state, Setup(document.search, workers)) for workers in (1, 4))
    assert one.spent == four.spent
    assert one.wall_seconds / 4 <= four.wall_seconds < one.wall_seconds / 2
    assert one.regret == four.regret == {"none": 0, "mixup": 0}


def test_a_stricter_scheduler_costs_less_and_may_lose_the_best(small, tmp_path):
    document = document_with(small, tmp_path, trials=16, scheduler="fifo")
    state = State.of(records_of(carried(document, random.Random(0), workers=4)))
    strict = document.search.model_copy(update={"scheduler": "asha", "grace": 1, "reduction": 4})
    played, was = simulate(state, Setup(strict, workers=4)), recorded(state)
    assert played.spent.epochs < was.spent.epochs
    assert played.extended == ()
    assert min(played.regret.values()) >= 0
    assert max(played.regret.values()) > 0  # curves of pure chance: the last rung says nothing of the end


def test_a_budget_ends_the_search(small, tmp_path):
    document = document_with(small, tmp_path, trials=8, scheduler="fifo")
    state = State.of(records_of(carried(document, random.Random(3), workers=1)))
    search = document.search.model_copy(update={"budget": Budget(epochs=24)})
    assert simulate(state, Setup(search, workers=1)).search_trials == 2 * 3


def test_broken_trials_break_again(small, tmp_path):
    document = document_with(small, tmp_path, trials=12, scheduler="fifo")
    state = State.of(records_of(carried(document, random.Random(5), workers=2, diverging=0.1)))
    broken = [trial for trial in state.trials.values() if trial.status == "diverged"]
    assert broken
    played = simulate(state, Setup(document.search, workers=3))
    assert played.extended == ()
    assert played.spent.epochs == sum(trial.epoch for trial in state.trials.values())


def test_a_running_campaign_is_played_as_far_as_every_study_is_known(small, tmp_path):
    document = document_with(small, tmp_path, trials=8)
    records = records_of(carried(document, random.Random(6), workers=2))
    cut = next(i for i, record in enumerate(records) if record.get("trial") == "mixup-003")
    state = State.of(records[: cut + 1])
    played = simulate(state, Setup(document.search, workers=2))
    assert played.setup.search.trials == 3
    assert played.search_trials == 2 * 3


def test_nothing_recorded_is_refused(small):
    with closing(Campaign.open(small, FACTS)) as campaign, pytest.raises(LedgerError, match="nothing to simulate"):
        simulate(campaign.state, Setup(small.search, workers=1))


def test_the_campaign_s_own_files_stay_as_they_are(small, tmp_path):
    document = document_with(small, tmp_path, trials=6)
    folder = carried(document, random.Random(7), workers=2)
    (folder.trial("none-000") / "attempt-1").mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")}
    state = State.of(records_of(folder))
    simulate(state, Setup(document.search, workers=2))
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")} == before


def test_how_many_ran_at_once_is_read_from_the_ledger(small, tmp_path):
    state = State.of(records_of(carried(document_with(small, tmp_path, trials=12), random.Random(8), workers=3)))
    assert most_at_once(state) == 3


@pytest.fixture
def state(small):
    with closing(Campaign.open(small, FACTS)) as campaign:
        yield campaign.state


def test_without_options_every_scheduler_is_compared_the_recorded_one_first(state):
    compared = [setup.search for setup in setups(state)]
    assert compared[0] == state.document.search
    assert {search.scheduler for search in compared} == set(SCHEDULERS)
    assert len(set(compared)) == len(compared)


def test_options_are_combined_and_the_rest_is_as_recorded(state):
    combined = setups(state, ("asha", "median"), graces=(3,), workers=(1, 8))
    assert [(setup.search.scheduler, setup.search.grace, setup.workers) for setup in combined] == [
        ("asha", 3, 1),
        ("asha", 3, 8),
        ("median", 3, 1),
        ("median", 3, 8),
    ]
    assert {setup.search.reduction for setup in combined} == {state.document.search.reduction}


def test_budgets_in_epochs_are_compared_like_anything_else(small, tmp_path):
    document = document_with(small, tmp_path, trials=8, scheduler="fifo")
    state = State.of(records_of(carried(document, random.Random(3), workers=1)))
    smaller, larger = (simulate(state, setup) for setup in setups(state, ("fifo",), epochs=(16, 40), workers=(1,)))
    assert (smaller.search_trials, larger.search_trials) == (2 * 2, 2 * 5)


def test_gpus_hold_whole_trials_only(state):
    state.document = state.document.model_copy(
        update={"resources": state.document.resources.model_copy(update={"gpu": 0.4})}
    )
    [setup, larger] = setups(state, ("asha",), gpus=(1, 8))
    assert (setup.workers, larger.workers) == (2, 16)


def test_a_setting_that_a_scheduler_does_not_heed_plays_nothing_twice(state):
    combined = setups(state, ("fifo", "median", "asha"), graces=(2, 3), reductions=(2, 3))
    counts = Counter(setup.search.scheduler for setup in combined)
    assert counts == {"fifo": 1, "median": 2, "asha": 4}


def test_all_wrong_options_are_told_at_once(state):
    with pytest.raises(DocumentError) as refused:
        setups(state, ("asha",), graces=(9,), reductions=(1,), trials=(5,), epochs=(0,), gpus=(4,))
    paths = {fault.path for fault in refused.value.faults}
    assert paths == {"--grace", "--reduction", "--trials", "--epochs", "--gpus"}


def test_a_setup_is_not_changed_by_being_played(small, tmp_path):
    document = document_with(small, tmp_path, trials=6)
    state = State.of(records_of(carried(document, random.Random(9), workers=2)))
    before = outcomes(state)
    setup = Setup(document.search, workers=2)
    assert simulate(state, setup) == replace(simulate(state, setup))
    assert outcomes(state) == before
