"""Suggestions are a function of the ledger and of the trial's number."""

import json
import math
import statistics

import optuna
import pytest

from tuner.campaign.observation import Observation
from tuner.campaign.settings import Search
from tuner.campaign.spaces import Choices, Range, contains
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial
from tuner.search import samplers
from tuner.search.samplers import cma_es, gaussian_process, optuna_study, random_search

SPACE = {
    "lr": Range(low=0.01, high=1.0, log=True),
    "alpha": Range(low=0.0, high=4.0),
    "block_size": Choices(choices=(3, 5, 7)),
    "layers": Choices(choices=((0,), (0, 1))),
    "depth": Range(low=1, high=4),
}
PAPER = {"lr": 0.1, "alpha": 1.0, "block_size": 7, "layers": (0, 1), "depth": 2}
METHOD = Study("m")


def loss(params):
    return (params["alpha"] - 1) ** 2 + 0.1 * params["block_size"]


def ended(number, params, attributes, status="completed", pruned_at=None, loss=loss):
    """A trial as the ledger gives it back: JSON has no tuples."""
    rows = [{"epoch": epoch, "val_error": loss(params)} for epoch in range(1, (pruned_at or 3) + 1)]
    params, attributes = json.loads(json.dumps([params, attributes]))
    return Trial(
        f"m-{number}", "m", "search", number, 0, params, attributes, 0.0, rows=rows, status=status, pruned_at=pruned_at
    )


def suggest(search, trials, number, space=SPACE, paper=PAPER, known=(), study=METHOD):
    return samplers.suggest(space, paper, trials, known, search, study, number)


def study(search, count, outcome=lambda number, params: {}, space=SPACE, paper=PAPER, known=(), loss=loss):
    trials = [ended(0, paper, {}, loss=loss)]
    for number in range(1, count):
        params, attributes = suggest(search, trials, number, space, paper, known)
        trials.append(ended(number, params, attributes, **outcome(number, params), loss=loss))
    return trials


OUTCOMES = [{}, {"status": "stopped", "pruned_at": 2}, {"status": "failed"}, {"status": None}, {}]
NAMES = ["tpe", "random", "gp", "cmaes", "grid"]


@pytest.mark.parametrize(("name", "count"), [("tpe", 14), ("random", 14), ("gp", 9), ("cmaes", 14), ("grid", 14)])
def test_the_same_ledger_gives_the_same_suggestion_and_none_twice(name, count):
    search = Search(trials=16, sampler=name)
    trials = study(search, count, lambda number, params: OUTCOMES[number % len(OUTCOMES)])
    for number in (1, count - 3, count - 1):
        params, attributes = suggest(search, trials[:number], number)
        assert json.loads(json.dumps([params, attributes])) == [trials[number].params, trials[number].attributes]
        assert list(params) == list(SPACE)
        assert [type(value) for value in params.values()] == [float, float, int, tuple, int]
    assert all(contains(SPACE, trial.params) for trial in trials)
    assert len({json.dumps(trial.params) for trial in trials}) == count


@pytest.mark.parametrize("name", NAMES)
def test_methods_replicates_and_seeds_draw_differently(name):
    search = Search(trials=40, replicates=2, sampler=name)
    first, _ = suggest(search, [ended(0, PAPER, {})], 1)
    assert suggest(search, [ended(0, PAPER, {})], 1, study=Study("other"))[0] != first
    assert suggest(search, [ended(0, PAPER, {})], 1, study=Study("m", 1))[0] != first
    assert suggest(Search(trials=40, seed=1, sampler=name), [ended(0, PAPER, {})], 1)[0] != first


def test_the_first_replicate_is_the_only_one_of_a_search_without_replicates():
    alone, one_of_two = Search(trials=40), Search(trials=40, replicates=2)
    assert suggest(alone, [], 1) == suggest(one_of_two, [], 1)
    assert alone.replicate_seed(0) == alone.seed
    assert len({one_of_two.replicate_seed(replicate) for replicate in range(5)}) == 5


SMOOTH = {"x": Range(low=-5.0, high=5.0), "y": Range(low=1e-4, high=1.0, log=True), "z": Range(low=0.0, high=1.0)}


def quadratic(params):
    return (params["x"] - 2) ** 2 / 10 + (math.log10(params["y"]) + 1) ** 2 + (params["z"] - 0.3) ** 2


def late_mean(name, count, outcome=lambda number, params: {}, seed=0):
    """The loss of the last third of a study's trials."""
    search, paper = Search(trials=count, sampler=name, seed=seed), {"x": -4.0, "y": 1e-3, "z": 0.9}
    trials = study(search, count, outcome, SMOOTH, paper, loss=quadratic)
    return statistics.mean(quadratic(trial.params) for trial in trials[-count // 3 :])


@pytest.mark.parametrize(("name", "count"), [("tpe", 40), ("cmaes", 60)])
def test_it_learns_what_random_search_does_not(name, count):
    random = statistics.median(late_mean("random", count, seed=seed) for seed in range(7))
    assert late_mean(name, count) < 0.6 * random


@pytest.mark.parametrize(("name", "count"), [("tpe", 40), ("cmaes", 60), ("gp", 15)])
def test_it_learns_from_pruned_trials_too(name, count):
    random = statistics.median(late_mean("random", count, seed=seed) for seed in range(7))
    bad_ones_pruned = [{}, {"status": "stopped", "pruned_at": 2}]
    assert late_mean(name, count, lambda number, params: bad_ones_pruned[quadratic(params) > 2]) < 0.6 * random


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ({}, optuna.trial.TrialState.COMPLETE),
        ({"status": "stopped", "pruned_at": 2}, optuna.trial.TrialState.PRUNED),
        ({"status": "audited", "pruned_at": 2}, optuna.trial.TrialState.PRUNED),
        ({"status": None, "pruned_at": 2}, optuna.trial.TrialState.PRUNED),
        ({"status": "diverged"}, optuna.trial.TrialState.FAIL),
        ({"status": "failed"}, optuna.trial.TrialState.FAIL),
        ({"status": None}, optuna.trial.TrialState.RUNNING),
    ],
)
def test_optuna_is_told_the_truth(outcome, state):
    first = ended(0, PAPER, {}, **outcome)
    distributions = {name: optuna_study.distribution(dimension) for name, dimension in SPACE.items()}
    trial = optuna_study.frozen(Observation.of(first, "val_error"), 0, distributions)
    trial._validate()  # Optuna's own: the parameters lie in their distributions, and a state has what it needs
    assert trial.state == state
    assert trial.value == (loss(PAPER) if state == optuna.trial.TrialState.COMPLETE else None)
    pruned = state == optuna.trial.TrialState.PRUNED
    assert trial.intermediate_values == ({2: loss(PAPER)} if pruned else {})


def test_what_an_audited_trial_shows_behind_its_rung_is_never_told():
    trial = ended(0, PAPER, {}, status="audited", pruned_at=2)
    trial.rows = [{"epoch": epoch, "val_error": 1 / epoch} for epoch in range(1, 9)]
    observation = Observation.of(trial, "val_error")
    assert (observation.outcome, observation.epoch, observation.value) == ("pruned", 2, 0.5)


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.GPSampler])
def test_optunas_own_study_would_suggest_the_same(sampler):
    """The study that is made for one suggestion passes Optuna's `ask` by: nothing may be lost with it."""
    search = Search(trials=40)
    trials = study(search, 24, lambda number, params: OUTCOMES[number % len(OUTCOMES)])
    observations = [Observation.of(trial, "val_error") for trial in trials]
    distributions = {name: optuna_study.distribution(dimension) for name, dimension in SPACE.items()}
    plain = optuna.create_study(sampler=sampler(seed=3, n_startup_trials=5))
    plain.add_trials([optuna_study.frozen(o, n, distributions) for n, o in enumerate(observations)])
    expected = plain.ask(distributions).params
    expected["layers"] = tuple(json.loads(expected["layers"]))
    assert optuna_study.ask(sampler(seed=3, n_startup_trials=5), SPACE, observations) == expected


FINITE = {"a": Choices(choices=(1, 2, 3)), "layers": Choices(choices=((0,), (0, 1))), "depth": Range(low=1, high=2)}
FIRST = {"a": 1, "layers": (0,), "depth": 1}


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_countable_space_is_used_up_before_a_setting_repeats(name):
    search = Search(trials=40, sampler=name)
    trials = study(search, 20, space=FINITE, paper=FIRST, loss=lambda params: params["a"])
    settings = [json.dumps(trial.params) for trial in trials]
    assert len(set(settings[:12])) == 12
    again, _ = suggest(search, trials[:15], 15, FINITE, FIRST)
    assert json.loads(json.dumps(again)) == trials[15].params


def test_what_an_earlier_campaign_tried_counts_as_tried():
    settings = [{"a": a, "layers": layers, "depth": d} for a in (1, 2, 3) for layers in ((0,), (0, 1)) for d in (1, 2)]
    known = [Observation(params, "completed", 3, {3: 0.5}) for params in settings[:-1]]
    search = Search(trials=40, sampler="random")
    assert {json.dumps(suggest(search, [], n, FINITE, FIRST, known)[0]) for n in range(5)} == {json.dumps(settings[-1])}


def test_a_grid_is_tried_whole_each_point_once_and_the_papers_setting_first():
    space = {"lr": Range(low=0.01, high=1.0, log=True), "b": Range(low=0.0, high=4.0, points=5), **FINITE}
    paper = {"lr": 0.1, "b": 0.5, **FIRST}
    count = 3 * 5 * 3 * 2 * 2 + 1
    trials = study(Search(trials=count, sampler="grid"), count, space=space, paper=paper, loss=lambda params: 0.0)
    assert len({json.dumps(trial.params) for trial in trials}) == count
    assert {trial.params["lr"] for trial in trials} == {0.01, 0.1, 1.0}
    assert {trial.params["b"] for trial in trials[1:]} == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_a_pruned_trial_counts_to_a_process_as_if_it_had_gained_what_complete_ones_did():
    def observed(outcome, *curve):
        return Observation({}, outcome, len(curve), dict(enumerate(curve, start=1)))

    complete = [
        observed("completed", 0.9, 0.5, 0.3),
        observed("completed", 0.8, 0.6, 0.2),
        observed("completed", 1, 1, 1),
    ]
    pruned, running, broken = observed("pruned", 0.9, 0.8), observed("running", 0.9), observed("broken", 0.9)
    seen = gaussian_process.extrapolated([*complete, pruned, running, broken])
    assert [o.outcome for o in seen] == ["completed"] * 4 + ["running", "broken"]
    assert seen[3].value == pytest.approx(0.8 - 0.2)  # the median of -0.2, -0.4 and 0
    assert [o.outcome for o in gaussian_process.extrapolated([pruned, running])] == ["running"]


def test_a_process_is_fitted_to_the_best_and_to_some_of_all_times():
    observations = [Observation({}, "completed", 1, {1: float(value)}) for value in reversed(range(1000))]
    running = Observation({}, "running")
    kept = gaussian_process.fewer([*observations, running])
    values = [o.value for o in kept if o is not running]
    assert len(values) == gaussian_process.MOST_OBSERVATIONS
    assert kept[-1] is running
    assert set(range(100)) < set(values)
    assert max(values) == 999
    assert gaussian_process.fewer(observations[:200]) == observations[:200]


def test_a_generation_is_what_its_children_noted_whatever_is_told_later():
    """Eight trials of generation 0 run at once; the seventh and eighth end when generation 1 has begun."""
    search = Search(trials=80, sampler="cmaes")
    trials = [ended(0, PAPER, {})]
    for number in range(1, 10):
        trials.append(ended(number, *suggest(search, trials, number), status="completed" if number < 8 else None))
    params, attributes = suggest(search, trials, 10)
    assert attributes == {"generation": 1, "parents": [1, 2, 3, 4, 5, 6, 7]}
    trials.append(ended(10, params, attributes, status=None))
    before = suggest(search, trials, 11)
    trials[8].status = trials[9].status = "completed"
    assert suggest(search, trials, 11) == before
    assert before[1] == attributes


def test_cmaes_ranks_complete_trials_first_then_those_stopped_later():
    """A generation moves to what its first half shows; values of other epochs do not compare."""
    space = {"x": Range(low=0.0, high=1.0), "y": Range(low=0.0, high=1.0)}
    search = Search(trials=80, sampler="cmaes")

    def mean_of_children(outcomes):
        trials = [
            Trial(
                f"m-{number}", "m", "search", number, 0, {"x": x, "y": 0.5}, {"generation": 0, "parents": []}, 0.0,
                rows=[{"val_error": value}] * epoch, status=status, pruned_at=epoch if status == "stopped" else None,
            )
            for number, (x, status, epoch, value) in enumerate(outcomes)
        ]  # fmt: skip
        drawn = (suggest(search, trials, number, space, {"x": 2.0, "y": 2.0})[0]["x"] for number in range(6, 60))
        return statistics.mean(drawn)

    stopped_early = [(0.9, "stopped", 2, 0.1), (0.9, "stopped", 2, 0.1), (0.9, "stopped", 2, 0.1)]
    assert mean_of_children([*stopped_early, *[(0.1, "completed", 8, 0.4)] * 3]) < 0.4
    assert mean_of_children([*stopped_early, *[(0.1, "stopped", 4, 0.4)] * 3]) < 0.4


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Range(low=-1.0, high=3.0), [-1.0, 0.0, 2.9, 3.0]),
        (Range(low=1e-4, high=1.0, log=True), [1e-4, 0.01, 1.0]),
        (Range(low=0, high=3), [0, 1, 2, 3]),
        (Range(low=1, high=64, log=True), [1, 2, 33, 64]),
    ],
)
def test_cmaes_moves_in_the_unit_cube_and_comes_back(dimension, values):
    for value in values:
        coordinate = cma_es._coordinate(dimension, value)
        assert 0 <= coordinate <= 1
        assert cma_es._value(dimension, coordinate) == pytest.approx(value)
    drawn = [suggest(Search(trials=99, sampler="cmaes"), [], n, {"x": dimension}, {"x": -9})[0]["x"] for n in range(60)]
    assert all(value in dimension for value in drawn)
    assert cma_es._value(dimension, 0.0) == pytest.approx(dimension.low)
    assert cma_es._value(dimension, 1.0) == pytest.approx(dimension.high)


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_an_earlier_campaign_is_learned_from(name):
    paper = {"x": -4.0, "y": 1e-3, "z": 0.9}
    search = Search(trials=40, sampler=name)
    earlier = study(Search(trials=40, sampler="random", seed=5), 40, space=SMOOTH, paper=paper, loss=quadratic)
    known = [Observation.of(trial, "val_error") for trial in earlier]

    def early_mean(known):
        trials = study(search, 8, space=SMOOTH, paper=paper, known=known, loss=quadratic)
        return statistics.mean(quadratic(trial.params) for trial in trials[1:])

    assert early_mean(known) < 0.5 * early_mean([])


def test_random_search_asks_no_study(monkeypatch):
    monkeypatch.setattr(optuna, "create_study", None)
    assert random_search.suggest(SPACE, 5) == random_search.suggest(SPACE, 5)
    assert suggest(Search(trials=9, sampler="random"), [], 3)[0].keys() == SPACE.keys()
