"""What every stopping rule answers."""

from abc import ABC, abstractmethod


class StoppingRule(ABC):
    """Which search trials of one study are stopped early: a pure function of what was recorded, in its order.

    Values are errors or losses: smaller is better. Epochs count from 1. A rule is told every look at the validation
    images up to the one that stopped a trial, and is asked about a look before it is told of it.
    """

    @abstractmethod
    def epochs(self, number: int) -> tuple[int, ...]:
        """The epochs, in order and all before the last one, at which search trial `number` may be stopped."""

    @abstractmethod
    def passes(self, number: int, epoch: int, value: float) -> bool:
        """Whether a trial that shows `value` at one of its `epochs` goes on, judged by what is recorded so far."""

    @abstractmethod
    def record(self, number: int, epoch: int, value: float) -> None:
        """Takes what a trial showed at an epoch."""

    @abstractmethod
    def stopped(self, trials: int) -> dict[int, float]:
        """How many of a study's `trials` are expected to be stopped at each epoch.

        It counts on one trial promising as much as another, and on curves that keep their order.
        """
