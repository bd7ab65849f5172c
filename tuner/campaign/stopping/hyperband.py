"""Hyperband (Li et al., JMLR 18(185), 2018, arXiv 1603.06560) without its waiting: brackets of ASHA."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import final

from tuner.campaign.stopping.asha import Asha
from tuner.campaign.stopping.rule import StoppingRule


@final
@dataclass
class Hyperband(StoppingRule):
    """Several brackets, each an ASHA of its own: the first with every rung, the next without the lowest one, and so on
    to the last, which stops nobody. So a study hedges against rungs that come too early for a method.

    A trial's bracket follows from its number alone, in the published proportion: with s rungs, the bracket of k rungs
    has ceil((s + 1) / (k + 1) * reduction^k) trials of a round (algorithm 1, line 3).

    Args:
        rungs: epochs of the first bracket, increasing.
        reduction: of those that reach a rung of a bracket, one in so many is to pass it.
    """

    rungs: tuple[int, ...]
    reduction: int
    brackets: tuple[Asha, ...] = field(init=False)

    def __post_init__(self):
        self.brackets = tuple(Asha(self.rungs[skipped:], self.reduction) for skipped in range(len(self.rungs) + 1))
        self._round = self._one_round()

    def _one_round(self) -> tuple[int, ...]:
        """The brackets of the trials of one round, spread evenly: a short study has its share of each, too."""
        most = len(self.rungs)
        sizes = [ceil(Fraction(most + 1, k + 1) * self.reduction**k) for k in range(most, -1, -1)]
        turns = [(Fraction(2 * turn + 1, 2 * size), s) for s, size in enumerate(sizes) for turn in range(size)]
        return tuple(bracket for _, bracket in sorted(turns))

    def bracket(self, number: int) -> Asha:
        """The one that search trial `number` is judged in."""
        return self.brackets[self._round[number % len(self._round)]]

    def epochs(self, number: int) -> tuple[int, ...]:
        return self.bracket(number).rungs

    def passes(self, number: int, epoch: int, value: float) -> bool:
        return self.bracket(number).passes(number, epoch, value)

    def record(self, number: int, epoch: int, value: float) -> None:
        self.bracket(number).record(number, epoch, value)

    def stopped(self, trials: int) -> dict[int, float]:
        stopped = dict.fromkeys(self.rungs, 0.0)
        turns = [self._round[number % len(self._round)] for number in range(trials)]
        for index, bracket in enumerate(self.brackets):
            for rung, count in bracket.stopped(turns.count(index)).items():
                stopped[rung] += count
        return stopped
