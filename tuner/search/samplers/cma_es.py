"""The covariance matrix adaptation evolution strategy (Hansen 2016, arXiv 1604.00772), by the `cmaes` package.

Optuna's sampler pickles its optimizer into the trials' attributes, and a ledger is not for pickles: here the optimizer
is told the recorded generations again, one after the other, for every suggestion.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
from cmaes import CMA, get_warm_start_mgd

from tuner.campaign.observation import Observation
from tuner.campaign.spaces import Choices, Range, Space
from tuner.search.samplers import random_search

STEP = 1 / 6
"""Standard deviation of the first generation, as a share of each range; Optuna's."""

PROMISING = 0.1
"""The best share of earlier trials that a warm start takes its first generation from; that of the paper."""


def suggest(
    space: Space, told: Sequence[Observation], known: Sequence[Observation], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The next setting, with its generation and the trials that count as the one before.

    Ranges move jointly, in the logarithm where they are logarithmic, integers between their halves. Choices have no
    order and are drawn at random, each on its own. A generation is over when enough of its trials are told: those
    count, and what is told of it later does not. CMA-ES knows ranks alone, so pruned trials take part, behind the
    complete ones and those that were stopped later first. Broken ones do not. An earlier campaign gives the first
    generation (Nomura et al., AAAI 2021, arXiv 2012.06932).

    Args:
        space: what is searched; one range at least.
        told: the study's trials, in order.
        known: an earlier campaign's.
        seed: of this suggestion.
    """
    ranges = {name: dimension for name, dimension in space.items() if isinstance(dimension, Range)}
    optimizer = _first_generation(ranges, known, seed)
    generations = _generations(told)
    newest = [n for n, o in enumerate(told) if o.told and o.attributes.get("generation") == len(generations)]
    if len(newest) >= optimizer.population_size:
        generations.append(newest[: optimizer.population_size])
    for members in generations:
        ranked = sorted((told[number] for number in members), key=_merit)
        optimizer.tell([(_coordinates(ranges, o.params), float(rank)) for rank, o in enumerate(ranked)])
    params = random_search.suggest({n: d for n, d in space.items() if isinstance(d, Choices)}, seed)
    moved = zip(ranges, optimizer.ask().tolist(), strict=True)
    params |= {name: _value(ranges[name], coordinate) for name, coordinate in moved}
    attributes = {"generation": len(generations), "parents": generations[-1] if generations else []}
    return {name: params[name] for name in space}, attributes


def _generations(told: Sequence[Observation]) -> list[list[int]]:
    """The trials that each generation but the newest was made of, as its children have noted them."""
    notes = (observation.attributes for observation in told if "generation" in observation.attributes)
    parents = {note["generation"]: note["parents"] for note in notes}
    return [parents[generation] for generation in range(1, max(parents, default=0) + 1)]


def _first_generation(ranges: Mapping[str, Range], known: Sequence[Observation], seed: int) -> CMA:
    bounds = np.tile([0.0, 1.0], (len(ranges), 1))
    ranked = sorted((observation for observation in known if observation.told), key=_merit)
    mean, sigma, covariance = np.full(len(ranges), 0.5), STEP, None
    if ranked:
        solutions = [(_coordinates(ranges, o.params), float(rank)) for rank, o in enumerate(ranked)]
        share = min(1.0, max(PROMISING, 1.5 / len(solutions)))  # one at least, whatever the rounding
        mean, sigma, covariance = get_warm_start_mgd(solutions, gamma=share)
        mean = mean.clip(0.0, 1.0)
    return CMA(mean=mean, sigma=sigma, cov=covariance, bounds=bounds, seed=seed % 2**32)


def _merit(observation: Observation) -> tuple[bool, int, float]:
    """What ranks first is smallest."""
    pruned = observation.outcome == "pruned"
    return pruned, -observation.epoch if pruned else 0, observation.value


def _coordinates(ranges: Mapping[str, Range], params: Mapping[str, Any]) -> np.ndarray:
    """Where a setting lies in the unit cube."""
    return np.array([_coordinate(dimension, params[name]) for name, dimension in ranges.items()])


def _coordinate(dimension: Range, value: float) -> float:
    low, high = _ends(dimension)
    return ((log(value) if dimension.log else value) - low) / (high - low)


def _value(dimension: Range, coordinate: float) -> float:
    low, high = _ends(dimension)
    value = low + coordinate * (high - low)
    value = exp(value) if dimension.log else value
    value = round(value) if dimension.of_integers else value
    return min(max(value, dimension.low), dimension.high)


def _ends(dimension: Range) -> tuple[float, float]:
    """In the scale that is searched evenly; half an integer more on either side, so that each has the same room."""
    margin = 0.5 if dimension.of_integers else 0.0
    ends = dimension.low - margin, dimension.high + margin
    return (log(ends[0]), log(ends[1])) if dimension.log else ends
