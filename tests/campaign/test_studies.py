"""Studies that are repeated, end with their budget, or are extended: driven by hand, without Ray."""

import pytest

from tests.campaign.test_campaign import FACTS, row, search
from tuner.campaign import reading
from tuner.campaign.agenda import Ask, Refit, Resume, Supersede, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.faults import DocumentError
from tuner.campaign.fold import State
from tuner.campaign.ledger import FORMAT, LedgerError, read
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial


@pytest.fixture
def campaign(small):
    opened = Campaign.open(small, FACTS)
    yield opened
    opened.close()


def finish(campaign, error_of=lambda number: 0.5 - number / 10):
    """Walks the agenda to its end at concurrency 1; what was begun, in order."""
    begun = []
    while (step := next_step(campaign.state, set())) != "done":
        match step:
            case Supersede(trial):
                campaign.supersede(trial)
                continue
            case Resume(trial):
                pass
            case Ask(study, number):
                trial = campaign.suggest_search(study, number, {"lr": 0.1 + number / 100}, {})
            case Refit(study, best, seed):
                trial = campaign.suggest_final(study, best, seed)
        begun.append(trial.id)
        error = error_of(trial.number)
        for epoch in range(trial.epoch + 1, 9):
            if not campaign.receive(Report(trial.id, trial.attempt + 1, [row(epoch, error)])):
                break
    return begun


def extended(campaign, **changed):
    document = campaign.document
    return document.model_copy(
        update={part: getattr(document, part).model_copy(update=c) for part, c in changed.items()}
    )


def test_a_finished_campaign_is_extended_and_what_still_counts_is_not_run_again(campaign):
    finish(campaign)
    before = campaign.folder.ledger.read_bytes()
    campaign.extend(extended(campaign, search={"trials": 5}, final={"seeds": (0, 1, 2)}))
    assert campaign.folder.ledger.read_bytes().startswith(before)
    begun = finish(campaign, lambda number: 0.9 if number == 4 else 0.5)  # the new trials are no better
    assert begun == [f"{m}-004" for m in ("none", "mixup")] + [f"{m}-final-003-seed2" for m in ("none", "mixup")]
    assert campaign.state.superseded("none") == []


def test_finals_of_what_was_the_best_once_stay_superseded(campaign):
    finish(campaign)
    campaign.extend(extended(campaign, search={"trials": 5}))
    assert finish(campaign)[2:] == [f"{m}-final-004-seed{s}" for m in ("none", "mixup") for s in (0, 1)]
    state = campaign.state
    assert [trial.id for trial in state.finals("none")] == ["none-final-004-seed0", "none-final-004-seed1"]
    assert [trial.id for trial in state.superseded("none")] == ["none-final-003-seed0", "none-final-003-seed1"]
    assert {trial.status for trial in state.superseded("none")} == {"completed"}


@pytest.mark.parametrize(("better", "status"), [(True, "superseded"), (False, "completed")])
def test_a_final_trial_that_was_under_way_waits_for_the_extended_search(campaign, better, status):
    while not isinstance(step := next_step(campaign.state, set()), Refit):
        search(campaign, step.study.method, error=0.5 - step.number / 10)
    final = campaign.suggest_final(step.study, step.best, step.seed)
    campaign.receive(Report(final.id, 1, [row(1)]))
    campaign.extend(extended(campaign, search={"trials": 5}))
    assert next_step(campaign.state, set()) == Ask(Study("none"), 4)
    finish(campaign, lambda number: {None: 0.5, 3: 0.2, 4: 0.1 if better else 0.9}[number])
    assert final.status == status
    assert len(campaign.state.finals("none")) == 2
    assert all(trial.ended for trial in campaign.state.trials.values())


def test_an_extended_campaign_goes_on_with_the_first_document_or_the_latest(campaign, content):
    first = campaign.document
    finish(campaign)
    latest = extended(campaign, search={"trials": 5}, final={"seeds": (0, 1, 2)})
    campaign.extend(latest)
    for document in (first, latest):
        campaign.close()
        campaign = Campaign.open(document, FACTS)
        assert campaign.document == latest
    campaign.close()
    content["training"] = {**content["training"], "lr": 0.2}
    with pytest.raises(LedgerError, match=r"training\.lr: 0\.1 -> 0\.2"):
        Campaign.open(reading.check(content, "small.yaml"), FACTS)


def test_replicates_are_studies_of_their_own(content):
    content["search"] = {"trials": 4, "audit": 0, "replicates": 2}
    content["methods"] = ["none"]
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    begun = finish(campaign)
    assert begun[:4] == ["none-000", "none-r1-000", "none-001", "none-r1-001"]
    assert begun[8:] == [
        "none-final-003-seed0",
        "none-final-003-seed1",
        "none-r1-final-003-seed1000",
        "none-r1-final-003-seed1001",
    ]
    trials = campaign.state.trials
    assert trials["none-000"].seed != trials["none-r1-000"].seed
    assert campaign.state.rules["none"] == campaign.state.rules["none-r1"]


def test_replicates_leave_no_room_for_large_final_seeds(content):
    content["search"] = {"trials": 4, "replicates": 2}
    content["final"] = {"seeds": [1000]}
    with pytest.raises(DocumentError, match="below 1000"):
        reading.check(content, "small.yaml")


@pytest.mark.parametrize(
    ("budget", "trials"),
    [
        ({"epochs": 9}, 2),  # checked before each trial of eight epochs: what runs, runs to its end
        ({"epochs": 8}, 1),
        ({"cpu_hours": 1.5 / 3600}, 1),  # eight epochs of a tenth of a second on two cores
        ({"cpu_hours": 1.7 / 3600}, 2),
        ({"gpu_hours": 0.5 / 3600}, 2),  # half a GPU
        ({"wall_hours": 1e-9}, 1),
    ],
)
def test_a_spent_budget_ends_the_search_and_final_trials_are_paid_for(content, budget, trials):
    content["search"] = {"trials": 4, "scheduler": "fifo", "budget": budget}
    content["resources"] = {"cpu": 2, "gpu": 0.5}
    content["methods"] = ["none"]
    document = reading.check(content, "small.yaml")
    campaign = Campaign.open(document, FACTS)
    finish(campaign)
    assert len(campaign.state.searched("none")) == trials
    assert len(campaign.state.finals("none")) == 2
    campaign.close()
    again = Campaign.open(document, FACTS)  # what is spent stays spent
    assert next_step(again.state, set()) == "done"
    again.close()


def test_epochs_are_paid_with_what_they_held_when_they_ran(campaign, content):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    campaign.receive(Report(trial.id, 1, [row(1)]))
    campaign.close()
    content["resources"] = {"cpu": 3, "gpu": 0.5}
    again = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    again.receive(Report(trial.id, 2, [row(2)]))
    again.close()
    spent = State.of(record for record, _ in read(again.folder.ledger)).spent("none")
    assert (spent.epochs, spent.seconds) == (2, 0.2)
    assert (spent.cpu_seconds, spent.gpu_seconds) == pytest.approx((0.4, 0.05))


def test_the_time_in_which_nobody_ran_it_is_no_wall_time(small):
    times = iter([100.0, 110.0, 500.0, 520.0, 900.0, 901.0])
    opened = {"format": FORMAT, "document": small.as_yaml()}
    kinds = [("opened", opened), ("attempt", {}), ("resumed", {"resources": {}}), ("attempt", {})]
    kinds += [("extended", {"document": small.as_yaml()}), ("attempt", {})]
    state = State()
    state.trials["none-000"] = Trial("none-000", "none", "search", 0, 0, {}, {}, 0.0)
    for kind, content in kinds:
        state.apply({"kind": kind, "time": next(times), "trial": "none-000", "attempt": 1, **content})
    assert state.wall_seconds == 31
