"""A study that Optuna's samplers can be asked on, made for one suggestion out of what is told."""

import json
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from tuner.campaign.observation import Observation
from tuner.campaign.spaces import Choices, Dimension, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

_STATES = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "broken": TrialState.FAIL,
    "running": TrialState.RUNNING,
}

_SOME_TIME = datetime(2000, 1, 1)
"""Optuna wants to know when a trial ran; its samplers do not look."""


def ask(sampler: BaseSampler, space: Space, observations: Sequence[Observation]) -> dict[str, Any]:
    """What the sampler suggests next. The objective is made small."""
    distributions = {name: distribution(dimension) for name, dimension in space.items()}
    study = optuna.create_study(
        sampler=sampler, storage=_Told([frozen(o, n, distributions) for n, o in enumerate(observations)])
    )
    trial = frozen(Observation({}, "running"), len(observations), {})
    # Optuna's own `Study.ask` finds the space out from all the trials, and copies them: most of a second at a thousand.
    joint = sampler.sample_relative(study, trial, dict(sorted(distributions.items())))
    sampled = {
        name: joint[name] if name in joint else sampler.sample_independent(study, trial, name, drawn_from)
        for name, drawn_from in distributions.items()
    }
    return {name: decoded(space[name], value) for name, value in sampled.items()}


class _Told(InMemoryStorage):
    """Holds trials that are handed out as they are, and forgets what samplers leave for other processes."""

    def __init__(self, trials: list[FrozenTrial]):
        super().__init__()
        self._told = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._told if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


def frozen(observation: Observation, number: int, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """The observation as Optuna's trial of this number: a pruned one has its value at the epoch that stopped it."""
    state = _STATES[observation.outcome]
    pruned_at = {observation.epoch: observation.value} if state == TrialState.PRUNED else {}
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=observation.value if state == TrialState.COMPLETE else None,
        datetime_start=_SOME_TIME,
        datetime_complete=_SOME_TIME if state.is_finished() else None,
        params={name: _encoded(observation.params[name]) for name in distributions},
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=pruned_at,
    )


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in Optuna's terms."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution([_encoded(choice) for choice in dimension.choices])
    kind = IntDistribution if dimension.of_integers else FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _encoded(choice: Any) -> Any:
    """Optuna's categories are scalars: a list of layers travels as its JSON."""
    return json.dumps(choice) if isinstance(choice, list | tuple) else choice


def decoded(dimension: Dimension, value: Any) -> Any:
    """What Optuna drew for a dimension, in the space's own terms."""
    if isinstance(dimension, Choices):
        return next(choice for choice in dimension.choices if _encoded(choice) == value)
    return value
