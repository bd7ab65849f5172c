"""Search spaces: which part of its legal range each hyper-parameter is searched in.

What is legal stands in the method's class, what is searched in `search_spaces/<method>.yaml` (or in the campaign's
`spaces`). `shared.yaml` holds the learning rate and the weight decay, which every method tunes, `none` included: what a
regularizer gains over an untuned baseline is no result.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

SPACES = Path(__file__).parents[2] / "search_spaces"

GRID_POINTS = 3
"""On a range, where its `points` does not say."""

SHARED = "shared"
"""The name of the space that is joined to every method's own."""

Scalar = bool | int | float | str
Choice = Scalar | tuple[Scalar, ...]


class Range(BaseModel):
    """From `low` to `high`, both included; evenly in the logarithm with `log`. Integers where the field is one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False
    points: Annotated[int, Field(ge=2, le=1000)] | None = Field(None, description="values of a grid, with both ends")

    @model_validator(mode="after")
    def _check_order(self):
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs low above 0, got {self.low}")
        return self

    @property
    def corners(self) -> tuple:
        return (self.low, self.high)

    @property
    def of_integers(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def values(self) -> Sequence | None:
        """All values, where they can be counted."""
        return range(self.low, self.high + 1) if self.of_integers else None

    @property
    def grid(self) -> tuple:
        """The values of a grid, increasing; an integer stands once, however many points fall on it."""
        spaced = (np.geomspace if self.log else np.linspace)(self.low, self.high, self.points or GRID_POINTS)
        if self.of_integers:
            return tuple(dict.fromkeys(map(round, spaced.tolist())))
        # Six digits: a point that should be the paper's 0.1 is then no 0.09999999999999999, tried beside it.
        return (self.low, *(float(f"{value:.6g}") for value in spaced[1:-1]), self.high)

    def __contains__(self, value) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


def _distinct(choices: tuple) -> tuple:
    if len(set(choices)) < len(choices):
        raise ValueError("a choice stands twice")
    return choices


class Choices(BaseModel):
    """One of a few values, without an order."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    choices: Annotated[tuple[Choice, ...], Field(min_length=2), AfterValidator(_distinct)]

    @property
    def corners(self) -> tuple:
        return self.choices

    @property
    def values(self) -> Sequence | None:
        """All of them."""
        return self.choices

    @property
    def grid(self) -> tuple:
        """All of them."""
        return self.choices

    def __contains__(self, value) -> bool:
        return value in self.choices


def _kind(dimension: Any) -> str:
    named = "choices" in dimension if isinstance(dimension, dict) else isinstance(dimension, Choices)
    return "Choices" if named else "Range"


Dimension = Annotated[Annotated[Range, Tag("Range")] | Annotated[Choices, Tag("Choices")], Discriminator(_kind)]
Space = dict[str, Dimension]


def space_file(method: str) -> Path:
    """Where a method's space stands."""
    return SPACES / f"{method}.yaml"


def contains(space: Space, params: dict[str, Any]) -> bool:
    """Whether the searched space holds this setting, and no setting of anything else."""
    return params.keys() == space.keys() and all(as_searched(params[name]) in space[name] for name in space)


def as_searched(value: Any) -> Any:
    """A value as the space has it: JSON has made a list of a tuple."""
    return tuple(value) if isinstance(value, list) else value
