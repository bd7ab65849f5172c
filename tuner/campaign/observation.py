"""What a sampler is told of a search trial."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner.campaign.trial import Trial

Outcome = Literal["completed", "pruned", "broken", "running"]


@dataclass(frozen=True)
class Observation:
    """A setting and what came of it. `curve` holds what was shown at the epochs up to `epoch`, smaller being better."""

    params: Mapping[str, Any]
    outcome: Outcome
    epoch: int = 0
    curve: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: Trial, metric: str) -> "Observation":
        """Of a trial as it is told: an audited one was pruned, whatever it shows later; `metric` is a row's column."""
        if trial.pruned_at is not None:
            outcome, epoch = "pruned", trial.pruned_at
        elif trial.status == "completed":
            outcome, epoch = "completed", trial.epoch
        else:
            outcome, epoch = "broken" if trial.ended else "running", trial.epoch
        return cls(trial.params, outcome, epoch, _Curve(trial.rows, metric), trial.attributes)

    @property
    def told(self) -> bool:
        """Whether it has a value to learn from."""
        return self.outcome in ("completed", "pruned")

    @property
    def value(self) -> float:
        """At `epoch`."""
        return self.curve[self.epoch]


@dataclass(frozen=True)
class _Curve(Mapping):
    """A column of a trial's rows by epoch: a view, as few of them are ever looked at."""

    rows: Sequence[Mapping[str, float]]
    column: str

    def __getitem__(self, epoch: int) -> float:
        return self.rows[epoch - 1][self.column]

    def __iter__(self) -> Iterator[int]:
        return (row["epoch"] for row in self.rows if self.column in row)

    def __len__(self) -> int:
        return sum(self.column in row for row in self.rows)
