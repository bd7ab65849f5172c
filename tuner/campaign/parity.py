"""Whether the methods' searches cost the same: a ranking between unequal budgets says who was given more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["trials", "epochs", "hours"]

TOLERANCE: dict[Unit, float] = {"trials": 0.0, "epochs": 0.05, "hours": 0.05}
"""How far apart, relative to the largest, the budgets of two methods may lie in one ranking."""


@dataclass(frozen=True)
class Parity:
    """What each method's search costs in one unit."""

    unit: Unit
    spent: Mapping[str, float]

    @property
    def gap(self) -> float:
        """Of the cheapest search to the dearest, relative to the dearest."""
        dearest = max(self.spent.values())
        return (dearest - min(self.spent.values())) / dearest if dearest else 0.0

    @property
    def holds(self) -> bool:
        return self.gap <= TOLERANCE[self.unit]

    @property
    def extremes(self) -> tuple[str, str]:
        """The methods with the cheapest and with the dearest search."""
        return min(self.spent, key=self.spent.get), max(self.spent, key=self.spent.get)
