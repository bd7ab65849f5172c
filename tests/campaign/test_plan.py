"""What a plan counts, worked out by hand, and its wall time against the agenda itself."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.campaign import reading
from tuner.campaign.agenda import Ask, Refit, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.parity import Parity
from tuner.campaign.plan import concurrent_trials, plan
from tuner.campaign.preflight import Facts
from tuner.campaign.settings import Resources
from tuner.campaign.wall_time import StudyTime, wall_seconds

FACTS = Facts(50, 30, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")
STEP = {"none": 0.1, "mixup": 0.2}


@pytest.fixture
def planned(content):
    """The plan of the small campaign with these changes, every step of it known."""

    def make(step_seconds=STEP, workers=2, **changes):
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value}
        return plan(reading.check(content, "small.yaml"), FACTS, step_seconds, workers if step_seconds else None)

    return make


def test_seconds_by_hand(planned):
    """8 epochs of 2 batches of 25; 30 images to validate on are 1.2 batches, at a third of a step each."""
    none, mixup = planned(search={"scheduler": "fifo"}).methods
    assert (none.search_trials, none.final_trials, none.most_epochs) == (4, 2, 48)
    assert (none.search_epochs, none.final_epochs) == (32, 16)
    assert none.search_seconds == pytest.approx(32 * 2.4 * 0.1)
    assert none.final_seconds == pytest.approx(16 * 2.4 * 0.1)
    assert mixup.expected_seconds == pytest.approx(2 * none.expected_seconds)


def test_final_runs_on_both_parts_have_more_steps_and_no_validation(planned):
    none, _ = planned(search={"scheduler": "fifo"}, final={"fit_on": "trainval"}).methods
    assert none.search_seconds == pytest.approx(32 * 2.4 * 0.1)
    assert none.final_seconds == pytest.approx(16 * 4 * 0.1)  # 80 images


def test_every_replicate_is_counted(planned):
    once, thrice = planned(), planned(search={"replicates": 3})
    for one, three in zip(once.methods, thrice.methods, strict=True):
        assert (three.search_trials, three.final_trials) == (3 * one.search_trials, 3 * one.final_trials)
        assert three.expected_seconds == pytest.approx(3 * one.expected_seconds)
    # Six studies side by side take as long as two of them, where there is room for all.
    assert thrice.shortest_wall_seconds == pytest.approx(once.shortest_wall_seconds)


def test_hours_are_of_what_is_scarce(planned):
    on_cpu, on_gpu = planned(resources={"cpu": 4}), planned(resources={"cpu": 4, "gpu": 0.5})
    assert (on_cpu.unit, on_cpu.hours(3600)) == ("CPU", 4)
    assert (on_gpu.unit, on_gpu.hours(3600)) == ("GPU", 0.5)


@pytest.mark.parametrize(
    ("resources", "units", "trials"),
    [
        ({}, 8, 8),
        ({"gpu": 0.5}, 8, 16),
        ({"gpu": 0.4}, 8, 16),  # two on each: the fifth part that is left fits nobody
        ({"gpu": 1}, 8, 8),
        ({"gpu": 0.5, "max_concurrent": 3}, 8, 3),
    ],
)
def test_trials_at_once_are_counted_for_each_gpu(resources, units, trials):
    assert concurrent_trials(Resources(**resources), units) == trials


def test_a_budget_ends_a_search_that_would_cost_more(planned):
    fifo = {"scheduler": "fifo", "trials": 40, "audit": 0}
    assert planned(search={**fifo, "budget": {"epochs": 80}}).methods[0].search_trials == 10 + 5  # nine more run then
    assert planned(search={**fifo, "budget": {"epochs": 8000}}).methods[0].search_trials == 40
    # none takes 1.92 s a trial and mixup twice as much: hours make the trials unequal
    hours = planned(search={**fifo, "parity": "hours", "budget": {"cpu_hours": 38.4 / 3600}})
    assert [method.search_trials for method in hours.methods] == [20 + 5, 10 + 5]


def test_parity_is_exact_in_trials_and_expected_in_epochs_and_hours(planned):
    parities = {parity.unit: parity for parity in planned().parities()}
    assert parities["trials"].holds
    assert parities["epochs"].holds
    assert not parities["hours"].holds
    assert parities["hours"].gap == pytest.approx(0.5)
    assert parities["hours"].extremes == ("none", "mixup")


def test_parity_tolerates_five_percent_of_epochs_and_no_trial():
    assert Parity("epochs", {"a": 95, "b": 100}).holds
    assert not Parity("epochs", {"a": 94, "b": 100}).holds
    assert not Parity("trials", {"a": 99, "b": 100}).holds
    assert Parity("trials", {"a": 0, "b": 0}).holds


def test_without_a_measured_step_the_counts_stand_and_no_time_does(planned):
    unknown = planned(step_seconds=None)
    assert not unknown.measured
    assert unknown.trials == planned().trials
    assert [parity.unit for parity in unknown.parities()] == ["trials", "epochs"]
    assert unknown.methods[0].expected_seconds is None


def test_early_stopping_saves_what_it_stops(planned):
    assert planned(search={"scheduler": "fifo"}).stopping_saves == 0
    assert planned(search={"trials": 0}).stopping_saves == 0
    assert 0.2 < planned(search={"scheduler": "asha", "trials": 40, "audit": 0}).stopping_saves < 0.7


def test_wall_time_by_hand():
    study = StudyTime(search_trials=4, search_seconds=10, final_trials=2, final_seconds=5)
    assert wall_seconds([study], concurrent=4, workers=1) == 50
    assert wall_seconds([study], concurrent=4, workers=2) == 25
    assert wall_seconds([study], concurrent=1, workers=99) == 45  # one trial after the other, then both final runs
    assert wall_seconds([study, study], concurrent=1, workers=99) == 45
    assert wall_seconds([], concurrent=1, workers=1) == 0


def test_final_runs_fill_workers_that_are_idle():
    short, long = StudyTime(1, 10, 2, 5), StudyTime(3, 10, 2, 5)
    # the short study's final runs go beside the long one's second trial
    assert wall_seconds([short, long], concurrent=1, workers=2) == 35


STUDY = st.builds(StudyTime, st.integers(0, 6), st.floats(0.1, 10), st.integers(1, 3), st.floats(0.1, 10))


@settings(deadline=None)
@given(st.lists(STUDY, min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 12))
def test_wall_time_lies_between_its_bounds(studies, concurrent, workers):
    seconds = wall_seconds(studies, concurrent, workers)
    work = sum(s.search_trials * s.search_seconds + s.final_trials * s.final_seconds for s in studies)
    chains = [-(-s.search_trials // concurrent) * s.search_seconds + s.final_seconds for s in studies]
    assert max(work / workers, *chains) <= seconds * (1 + 1e-9)
    assert seconds <= work * (1 + 1e-9)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_wall_time_is_that_of_the_agenda(content, workers):
    """The real agenda over a real ledger, with a clock that trials of fixed length drive."""
    content["search"] = {"trials": 8, "scheduler": "fifo"}
    content["final"] = {"seeds": [0, 1, 2], "select": "last"}
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    seconds = {"search": 8.0, "final": 5.0}
    now, running = 0.0, []
    while True:
        ids = {trial for _, trial in running}
        step = next_step(campaign.state, ids) if len(running) < workers else "wait"
        match step:
            case Ask(study, number):
                trial = campaign.suggest_search(study, number, {"lr": 0.1}, {})
            case Refit(study, best, seed):
                trial = campaign.suggest_final(study, best, seed)
            case "done" if not running:
                break
            case _:
                now, trial_id = heapq.heappop(running)
                rows = [{"epoch": e, "val_error": 0.5, "val_nll": 1.0, "seconds": 0.1} for e in range(1, 9)]
                campaign.receive(Report(trial_id, 1, rows))
                continue
        heapq.heappush(running, (now + seconds[trial.kind], trial.id))
    campaign.close()
    study = StudyTime(8, seconds["search"], 3, seconds["final"])
    assert wall_seconds([study, study], campaign.document.search.concurrent, workers) == now
