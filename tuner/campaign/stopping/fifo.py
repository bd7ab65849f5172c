"""No early stopping: every trial runs to its last epoch."""

from dataclasses import dataclass
from typing import final

from tuner.campaign.stopping.rule import StoppingRule


@final
@dataclass
class Fifo(StoppingRule):
    """First in, first out; nothing that is recorded matters."""

    def epochs(self, number: int) -> tuple[int, ...]:
        return ()

    def passes(self, number: int, epoch: int, value: float) -> bool:
        return True

    def record(self, number: int, epoch: int, value: float) -> None:
        pass

    def stopped(self, trials: int) -> dict[int, float]:
        return {}
