"""Search spaces: which part of its legal range each hyper-parameter is searched in.

What is legal stands in the method's class, what is searched in `search_spaces/<method>.yaml` (or in the campaign's
`spaces`). `shared.yaml` holds the learning rate and the weight decay, which every method tunes, `none` included: what a
regularizer gains over an untuned baseline is no result.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

SPACES = Path(__file__).parents[2] / "search_spaces"

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
    """Whether the searched space holds this setting."""
    return all(params[name] in dimension for name, dimension in space.items())
