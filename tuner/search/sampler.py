"""Optuna's samplers as a function of the ledger: the same trials and the same number give the same suggestion.

A study is built anew for every suggestion, and its sampler is seeded by (campaign seed, method, number). So nothing has
to be saved, a resumed search goes on exactly as an uninterrupted one, and no study can be ahead of the ledger.
"""

import json
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.campaign.document import Search
from tuner.campaign.fold import Trial
from tuner.campaign.spaces import Choices, Dimension, Space
from tuner.training.streams import seed_of

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(
    space: Space, trials: Sequence[Trial], search: Search, method: str, number: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The hyper-parameters of search trial `number` of a method's study, and the sampler's own notes on them.

    Args:
        space: what is searched.
        trials: the study's trials so far, in order: told ones with their outcome, the others as running.
        search: the sampler, its seed and the metric, which is made small.
    """
    study = optuna.create_study(sampler=_sampler(search, seed_of(search.seed, "sampler", method, number)))
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    study.add_trials([_frozen(trial, space, distributions, f"val_{search.metric}") for trial in trials])
    study.ask(distributions)
    asked = study.trials[-1]
    return {name: _decoded(space[name], value) for name, value in asked.params.items()}, asked.system_attrs


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    seed %= 2**32
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Optuna starts with ten random trials whatever the budget; of a small one that would be nearly all.
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(4, search.trials // 4)))


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution([_encoded(choice) for choice in dimension.choices])
    of_integers = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    kind = IntDistribution if of_integers else FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _encoded(choice: Any) -> Any:
    """Optuna's categories are scalars: a list of layers travels as its JSON."""
    return json.dumps(choice) if isinstance(choice, list | tuple) else choice


def _decoded(dimension: Dimension, value: Any) -> Any:
    if isinstance(dimension, Choices):
        return next(choice for choice in dimension.choices if _encoded(choice) == value)
    return value


def _frozen(trial: Trial, space: Space, distributions: dict[str, BaseDistribution], metric: str) -> FrozenTrial:
    state, value, intermediate = TrialState.RUNNING, None, {}
    if trial.pruned_at is not None:
        state, intermediate = TrialState.PRUNED, {trial.pruned_at: trial.rows[trial.pruned_at - 1][metric]}
    elif trial.status == "completed":
        state, value = TrialState.COMPLETE, trial.rows[-1][metric]
    elif trial.ended:
        state = TrialState.FAIL
    return create_trial(
        state=state,
        value=value,
        intermediate_values=intermediate,
        params={name: _encoded(trial.params[name]) for name in space},
        distributions=distributions,
        system_attrs=trial.attributes,
    )
