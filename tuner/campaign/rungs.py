"""The stopping rule of ASHA (Li et al., MLSys 2020, arXiv 1810.05934), one table of rungs per study."""

import numpy as np


def rung_epochs(grace: int, reduction: int, epochs: int) -> tuple[int, ...]:
    """grace, grace * reduction, ... below `epochs`: a rung at the last epoch could stop nobody."""
    rungs = []
    while grace < epochs:
        rungs.append(grace)
        grace *= reduction
    return tuple(rungs)


class Rungs:
    """What every trial of a study showed at each rung, smaller being better.

    A trial goes on if it is within the best 1/reduction of those that came before it; the first always goes on.
    """

    def __init__(self, epochs: tuple[int, ...], reduction: int):
        self.reduction = reduction
        self.table: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}

    def passes(self, epoch: int, value: float) -> bool:
        """Whether a trial that shows `value` at this rung goes on, judged by those recorded so far."""
        # In rewards, as Ray's ASHA has it: the same rounding, so the same decision on a tie.
        earlier = [-other for other in self.table[epoch].values()]
        return not earlier or bool(-value >= np.percentile(earlier, (1 - 1 / self.reduction) * 100))

    def record(self, epoch: int, trial: str, value: float) -> None:
        """Enters a trial at a rung."""
        self.table[epoch][trial] = value
