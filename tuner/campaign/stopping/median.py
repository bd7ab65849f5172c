"""The median rule of Google Vizier (Golovin et al., KDD 2017, section 3.2.2), as Optuna's MedianPruner decides."""

import statistics
from bisect import insort
from dataclasses import dataclass, field
from typing import final

import numpy as np

from tuner.campaign.stopping.rule import StoppingRule

STARTUP = 5
"""Trials that have to be complete before one is stopped; Optuna's default."""


@final
@dataclass
class Median(StoppingRule):
    """A trial goes on while the best it has shown is no worse than the median of the complete trials at that epoch.

    The best since it may be stopped: workers hand over there, and how many of the epochs before come along is chance.
    The paper compares with running averages; Optuna compares with what they showed there, and so does this rule: on
    curves that fall, averages would be too kind.

    Args:
        judged: the epochs at which a trial may be stopped, increasing.
        last: the epoch that makes a trial complete.
    """

    judged: tuple[int, ...]
    last: int
    shown: dict[int, dict[int, float]] = field(default_factory=dict)
    """What each trial showed at the judged epochs, by number."""
    complete: dict[int, list[float]] = field(init=False)
    """What the complete trials showed at each judged epoch."""

    def __post_init__(self):
        self.complete = {epoch: [] for epoch in self.judged}

    def epochs(self, number: int) -> tuple[int, ...]:
        return self.judged

    def passes(self, number: int, epoch: int, value: float) -> bool:
        others = self.complete[epoch]
        if len(others) < STARTUP:
            return True
        best = min([value, *self.shown.get(number, {}).values()])
        return best <= float(np.percentile(others, 50))

    def record(self, number: int, epoch: int, value: float) -> None:
        shown = self.shown.setdefault(number, {})
        if epoch in self.complete:
            shown[epoch] = value
        if epoch == self.last:
            for judged, others in self.complete.items():
                others.append(shown[judged])

    def stopped(self, trials: int) -> dict[int, float]:
        if not self.judged:
            return {}
        # Complete trials by the share of all trials that are better: five anywhere, then those that pass, which lie
        # between nothing and the median and so pull it down.
        levels = [(i + 1) / (STARTUP + 1) for i in range(STARTUP)]
        stopped = passed = 0.0
        for _ in range(trials - STARTUP):
            median = statistics.median(levels)
            stopped += 1 - median
            passed += median
            if passed >= 1:
                passed -= 1
                insort(levels, median / 2)
        return {self.judged[0]: stopped}
