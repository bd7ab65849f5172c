"""Bayesian optimisation: a Gaussian process and the logarithm of expected improvement (Ament et al., NeurIPS 2023,
arXiv 2310.20708), by Optuna."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optuna.samplers import GPSampler

from tuner.campaign.observation import Observation
from tuner.campaign.spaces import Space
from tuner.search.samplers import optuna_study

MOST_OBSERVATIONS = 200
"""That a process is fitted to: the fit costs their cube, and near the best settings more of them tell little."""


def suggest(space: Space, observations: Sequence[Observation], startup: int, seed: int) -> dict[str, Any]:
    """The next setting: random until `startup` trials are told; trials that run are taken into account.

    Optuna's process learns from complete trials alone, and would try again what was pruned. So a pruned trial counts as
    one that, from its last epoch on, gained what complete ones gained there in the median. Before any is complete, and
    where one is broken, it is not learned from.
    """
    return optuna_study.ask(
        GPSampler(seed=seed % 2**32, n_startup_trials=startup, warn_independent_sampling=False),
        space,
        fewer(extrapolated(observations)),
    )


def extrapolated(observations: Sequence[Observation]) -> list[Observation]:
    """The same with every pruned trial as a complete one, or left out where there is nothing to tell its end by."""
    complete = [observation for observation in observations if observation.outcome == "completed"]
    gains: dict[int, float] = {}
    found = []
    for observation in observations:
        if observation.outcome == "pruned":
            epoch = observation.epoch
            if epoch not in gains:
                ends = [other.value - other.curve[epoch] for other in complete if epoch in other.curve]
                gains[epoch] = statistics.median(ends) if ends else None
            if gains[epoch] is None:
                continue
            estimate = {epoch: observation.value + gains[epoch]}
            observation = replace(observation, outcome="completed", curve=estimate)
        found.append(observation)
    return found


def fewer(observations: list[Observation]) -> list[Observation]:
    """At most so many complete ones as a process is fitted to: the better half of them, the others evenly in time."""
    complete = [index for index, observation in enumerate(observations) if observation.outcome == "completed"]
    if len(complete) <= MOST_OBSERVATIONS:
        return observations
    ranked = sorted(complete, key=lambda index: (observations[index].value, index))
    best, others = ranked[: MOST_OBSERVATIONS // 2], sorted(ranked[MOST_OBSERVATIONS // 2 :])
    places = MOST_OBSERVATIONS - len(best)
    kept = {*best, *(others[place * len(others) // places] for place in range(places))}
    return [o for index, o in enumerate(observations) if index in kept or o.outcome != "completed"]
