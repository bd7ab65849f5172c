"""Spaces that can be counted: the points of a grid, and all settings of a space without a continuous range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tuner.campaign.spaces import Space, as_searched, contains


@dataclass(frozen=True)
class Lattice:
    """Every combination of some values of each hyper-parameter, numbered from 0."""

    axes: Mapping[str, Sequence]

    @property
    def size(self) -> int:
        return prod(len(values) for values in self.axes.values())

    def point(self, index: int) -> dict[str, Any]:
        """The setting of this number."""
        params = {}
        for name, values in self.axes.items():
            index, place = divmod(index, len(values))
            params[name] = values[place]
        return params

    def index(self, params: Mapping[str, Any]) -> int | None:
        """The number of a setting; None where it is no point."""
        index, step = 0, 1
        for name, values in self.axes.items():
            if (value := as_searched(params[name])) not in values:
                return None
            index += step * values.index(value)
            step *= len(values)
        return index


def grid(space: Space) -> Lattice:
    """The grid of a space: its choices, and the points of its ranges."""
    return Lattice({name: dimension.grid for name, dimension in space.items()})


def all_settings(space: Space) -> Lattice | None:
    """All that a space holds; None where that cannot be counted."""
    axes = {name: dimension.values for name, dimension in space.items()}
    return None if any(values is None for values in axes.values()) else Lattice(axes)


def grid_trials(space: Space, paper: Mapping[str, Any]) -> int:
    """How many trials a grid takes: its points, and trial 0 where that is the paper's setting and none of them."""
    points = grid(space)
    return points.size + (contains(space, paper) and points.index(paper) is None)


def grid_setting(space: Space, paper: Mapping[str, Any], number: int, seed: int) -> dict[str, Any]:
    """What trial `number` of a grid tries, in an order that the seed shuffles; the paper's setting is trial 0's.

    Args:
        space: what is searched; its grid has few enough points to be shuffled.
        paper: the paper's setting.
        number: below `grid_trials`, and above 0 where the space holds the paper's setting.
        seed: of the order.
    """
    points = grid(space)
    order = np.random.RandomState(seed % 2**32).permutation(points.size)  # its stream never changes, unlike default_rng
    if not contains(space, paper):
        return points.point(int(order[number]))
    tried = points.index(paper)
    others = order if tried is None else order[order != tried]
    return points.point(int(others[number - 1]))
