"""Samplers that cannot work on the spaces they are given."""

from collections.abc import Mapping

from tuner.campaign.faults import Fault
from tuner.campaign.lattice import grid
from tuner.campaign.settings import Search
from tuner.campaign.spaces import SHARED, Range, Space

MOST_POINTS = 1_000_000
"""Of a grid: its order is shuffled in memory for every suggestion."""


def sampler_faults(search: Search, spaces: Mapping[str, Space], file: str) -> list[Fault]:
    """What is wrong with the search's sampler.

    Args:
        search: of the campaign.
        spaces: the shared one and those of its methods, as far as they are sound.
        file: where the search stands.
    """
    shared = spaces.get(SHARED, {})
    whole = {method: {**shared, **space} for method, space in spaces.items() if method != SHARED}
    if search.sampler == "cmaes":
        return [Fault(file, "search.sampler", sentence) for sentence in _without_ranges(whole)]
    if search.sampler != "grid":
        return []
    faults = [Fault(file, "search.sampler", sentence) for sentence in _too_large(whole)]
    if search.warm_start:
        faults.append(Fault(file, "search.warm_start", "a grid learns from nothing; use another sampler."))
    return faults


def _without_ranges(spaces: Mapping[str, Space]) -> list[str]:
    return [
        f"cmaes moves ranges, and the space of {method} has none; use tpe, random, gp or grid."
        for method, space in spaces.items()
        if not any(isinstance(dimension, Range) for dimension in space.values())
    ]


def _too_large(spaces: Mapping[str, Space]) -> list[str]:
    sizes = {method: grid(space).size for method, space in spaces.items()}
    return [
        f"the grid of {method} has {size:,} points, and at most {MOST_POINTS:,} can be shuffled; give its ranges fewer "
        "`points`, or hold hyper-parameters fixed."
        for method, size in sizes.items()
        if size > MOST_POINTS
    ]
