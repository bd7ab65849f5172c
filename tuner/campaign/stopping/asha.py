"""The stopping rule of ASHA (Li et al., MLSys 2020, arXiv 1810.05934): a trial goes on within the best 1/reduction."""

import random
from bisect import insort
from dataclasses import dataclass, field
from typing import final

import numpy as np

from tuner.campaign.stopping.rule import StoppingRule

SIMULATED_TRIALS = 16_000
"""Of a few hundredths of a second, to tell how many are stopped: early arrivals meet few to be compared with, and those
behind a rung are better the later they come."""


@final
@dataclass
class Asha(StoppingRule):
    """One ladder of rungs for all trials of a study.

    A trial goes on past a rung if it is within the best 1/reduction of those that came before it; the first always goes
    on. Decides as Ray's ASHA does, to the bit.

    Args:
        rungs: epochs, increasing.
        reduction: of those that reach a rung, one in so many is to pass it.
    """

    rungs: tuple[int, ...]
    reduction: int
    shown: dict[int, list[float]] = field(init=False)
    """What was shown at each rung, in the order of arrival."""

    def __post_init__(self):
        self.shown = {rung: [] for rung in self.rungs}

    def epochs(self, number: int) -> tuple[int, ...]:
        return self.rungs

    def passes(self, number: int, epoch: int, value: float) -> bool:
        # In rewards, as Ray's ASHA has it: the same rounding, so the same decision on a tie.
        earlier = [-other for other in self.shown[epoch]]
        return not earlier or bool(-value >= np.percentile(earlier, (1 - 1 / self.reduction) * 100))

    def record(self, number: int, epoch: int, value: float) -> None:
        if epoch in self.shown:
            self.shown[epoch].append(value)

    def stopped(self, trials: int) -> dict[int, float]:
        studies = max(1, SIMULATED_TRIALS // max(1, trials))
        stopped, draw = dict.fromkeys(self.rungs, 0.0), random.Random(0)
        for _ in range(studies):
            shown: dict[int, list[float]] = {rung: [] for rung in self.rungs}
            for level in (draw.random() for _ in range(trials)):
                for rung, earlier in shown.items():
                    passes = not earlier or level <= _quantile(earlier, self.reduction)
                    insort(earlier, level)
                    if not passes:
                        stopped[rung] += 1 / studies
                        break
        return stopped


def rung_epochs(grace: int, reduction: int, epochs: int, evaluate_every: int) -> tuple[int, ...]:
    """grace, grace * reduction, ... below `epochs`, each moved to the next epoch that ends with a validation.

    There is none at the last epoch: it could stop nobody.
    """
    rungs = []
    while grace < epochs:
        rungs.append(-(-grace // evaluate_every) * evaluate_every)
        grace *= reduction
    return tuple(rung for rung in dict.fromkeys(rungs) if rung < epochs)


def _quantile(ordered: list[float], reduction: int) -> float:
    """What the best 1/reduction of these values lie below."""
    whole, rest = divmod(len(ordered) - 1, reduction)
    upper = ordered[min(whole + 1, len(ordered) - 1)]
    return ordered[whole] + (upper - ordered[whole]) * rest / reduction
