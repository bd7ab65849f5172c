"""A trial as the ledger tells it, and what trials cost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner.campaign.study import Study

Decision = Literal["continue", "stop", "audit", "complete"]
Status = Literal["completed", "stopped", "audited", "superseded", "diverged", "failed"]


@dataclass
class Trial:
    """One trial. `pruned_at` is the rung that stopped it; an audited trial runs on behind that rung, unheard."""

    id: str
    method: str
    kind: Literal["search", "final"]
    number: int | None  # of a search trial in its study; of the search trial that a final one refits, if one was run
    seed: int
    params: dict[str, Any]
    attributes: dict[str, Any]  # the sampler's own notes
    suggested_at: float
    replicate: int = 0
    attempt: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # when each row was recorded
    decision: Decision = "continue"
    pruned_at: int | None = None
    status: Status | None = None
    error: dict[str, str] | None = None  # class, message, traceback of a failed or diverged trial
    ended_at: float | None = None
    gpu_seconds: float = 0.0  # what its epochs held of GPUs, and of cores
    cpu_seconds: float = 0.0

    @property
    def study(self) -> str:
        """The name of the study that it belongs to."""
        return Study(self.method, self.replicate).name

    @property
    def epoch(self) -> int:
        """Epochs recorded."""
        return len(self.rows)

    @property
    def ended(self) -> bool:
        return self.status is not None

    @property
    def told(self) -> bool:
        """Whether the sampler knows the outcome: an audited trial was told when its rung pruned it."""
        return self.ended or self.pruned_at is not None

    @property
    def seconds(self) -> float:
        """Training time recorded, audits included."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The method's own, without the learning rate and the weight decay that every study searches."""
        return {name: value for name, value in self.params.items() if name not in ("lr", "weight_decay")}


def status_of(trial: Trial) -> Status | None:
    """The status that the last decision gives, or None while the trial has to go on."""
    if trial.decision == "stop":
        return "stopped"
    if trial.decision == "complete":
        return "audited" if trial.pruned_at is not None else "completed"
    return None


@dataclass(frozen=True)
class Spent:
    """What some trials cost by the epochs recorded: audits are in it, broken trials up to the epoch they broke in."""

    trials: int
    epochs: int
    seconds: float
    gpu_seconds: float
    cpu_seconds: float

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> "Spent":
        trials = list(trials)
        return cls(
            len(trials),
            sum(trial.epoch for trial in trials),
            sum(trial.seconds for trial in trials),
            sum(trial.gpu_seconds for trial in trials),
            sum(trial.cpu_seconds for trial in trials),
        )

    @property
    def hours(self) -> float:
        """Of training, whatever it trained on."""
        return self.seconds / 3600

    @property
    def gpu_hours(self) -> float:
        """Half a GPU for an hour is half an hour."""
        return self.gpu_seconds / 3600

    @property
    def cpu_hours(self) -> float:
        """Of the cores that the trials held."""
        return self.cpu_seconds / 3600
