"""Suggestions are a function of the ledger and of the trial's number."""

import optuna
import pytest

from tuner.campaign.document import Search
from tuner.campaign.fold import Trial
from tuner.campaign.spaces import Choices, Range
from tuner.search import sampler

SPACE = {
    "lr": Range(low=0.01, high=1.0, log=True),
    "alpha": Range(low=0.0, high=4.0),
    "block_size": Choices(choices=(3, 5, 7)),
    "layers": Choices(choices=((0,), (0, 1))),
    "depth": Range(low=1, high=4),
}


def loss(params):
    return (params["alpha"] - 1) ** 2 + 0.1 * params["block_size"]


def ended(number, params, attributes, status="completed", pruned_at=None):
    rows = [{"epoch": epoch, "val_error": loss(params)} for epoch in range(1, (pruned_at or 3) + 1)]
    return Trial(
        f"m-{number}", "m", "search", number, 0, params, attributes, 0.0, rows=rows, status=status, pruned_at=pruned_at
    )


def study(search, count, outcome=lambda number: {}):
    trials = []
    for number in range(count):
        params, attributes = sampler.suggest(SPACE, trials, search, "m", number)
        trials.append(ended(number, params, attributes, **outcome(number)))
    return trials


OUTCOMES = [{}, {"status": "stopped", "pruned_at": 2}, {"status": "failed"}, {"status": None}, {}]


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_the_same_ledger_gives_the_same_suggestion(name):
    search = Search(trials=40, sampler=name)
    trials = study(search, 20, lambda number: OUTCOMES[number % len(OUTCOMES)])
    for number in (5, 12, 19):
        again = sampler.suggest(SPACE, trials[:number], search, "m", number)
        assert again == (trials[number].params, trials[number].attributes)


def test_suggestions_lie_in_the_space_with_its_types_and_do_not_repeat():
    trials = study(Search(trials=40), 20)
    for trial in trials:
        assert all(trial.params[name] in dimension for name, dimension in SPACE.items())
        assert [type(trial.params[name]) for name in SPACE] == [float, float, int, tuple, int]
    assert len({trial.params["alpha"] for trial in trials}) == 20


def test_methods_and_seeds_draw_differently():
    search = Search(trials=40)
    first = sampler.suggest(SPACE, [], search, "m", 0)
    assert sampler.suggest(SPACE, [], search, "other", 0) != first
    assert sampler.suggest(SPACE, [], Search(trials=40, seed=1), "m", 0) != first


def test_tpe_learns_what_random_search_does_not():
    def late_mean(name):
        trials = study(Search(trials=40, sampler=name), 40)
        return sum(loss(trial.params) for trial in trials[20:]) / 20

    assert late_mean("tpe") < 0.6 * late_mean("random")


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
def test_optuna_is_told_the_truth(outcome, state, monkeypatch):
    told = []
    add = optuna.study.Study.add_trials
    monkeypatch.setattr(optuna.study.Study, "add_trials", lambda self, trials: (told.extend(trials), add(self, trials)))
    search = Search(trials=40)
    [first] = study(search, 1, lambda _: outcome)
    told.clear()
    sampler.suggest(SPACE, [first], search, "m", 1)
    [trial] = told
    assert trial.state == state
    if state == optuna.trial.TrialState.COMPLETE:
        assert trial.value == loss(first.params)
    if state == optuna.trial.TrialState.PRUNED:
        assert trial.intermediate_values == {2: loss(first.params)}
