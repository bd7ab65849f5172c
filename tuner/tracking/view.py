"""The campaign as MLflow should show it: a pure function of the ledger's records, in one go or in pieces.

One run a study (named as its method, with the replicate behind it where there are several) with one run a trial below
it (named as the trial).
"""

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import Any, Literal

from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import Record
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_STATUS: dict[str | None, RunStatus] = {
    None: "RUNNING",
    "completed": "FINISHED",
    "stopped": "FINISHED",
    "audited": "FINISHED",
    "superseded": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}


@dataclass(frozen=True)
class Step:
    """The metrics of one step: an epoch of a trial, or an ended trial of a study. `time` is in milliseconds."""

    number: int
    time: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class RunView:
    """All that one MLflow run shows. Times are in milliseconds; `end` is when the ledger last spoke of the run."""

    name: str
    parent: str | None
    status: RunStatus
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    steps: tuple[Step, ...]

    def interrupted(self) -> "RunView":
        """The same run while nobody carries it on."""
        return replace(self, status="KILLED", tags={**self.tags, "status": "interrupted"})


class CampaignView:
    """Folds records; `apply` names the runs that a record changes, `run` shows one as the records so far have it."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._state = State()
        self._ended: dict[str, list[Trial]] = {}  # of each study, in the ledger's order
        self._superseded: set[str] = set()

    def apply(self, record: Record) -> list[str]:
        """Folds one record in. A study comes before its trials: they need its run."""
        self._state.apply(record)
        if record["kind"] == "extended":
            return self.studies  # those that were finished are not any more
        if "trial" not in record:
            return []
        trial = self._state.trials[record["trial"]]
        if record["kind"] != "ended":
            return [trial.study, trial.id] if record["kind"] == "suggested" else [trial.id]
        self._ended.setdefault(trial.study, []).append(trial)
        return [trial.study, trial.id, *self._newly_superseded(trial.study)]

    def _newly_superseded(self, study: str) -> list[str]:
        """Final runs whose setting has just lost its place as the best one of the study."""
        superseded = [trial.id for trial in self._state.superseded(study) if trial.id not in self._superseded]
        self._superseded.update(superseded)
        return superseded

    @property
    def opened(self) -> bool:
        """Whether there is a campaign yet."""
        return self._state.document is not None

    @property
    def name(self) -> str:
        return self._state.document.name

    @property
    def studies(self) -> list[str]:
        """The studies that have a run."""
        return list(dict.fromkeys(trial.study for trial in self._state.trials.values()))

    @property
    def runs(self) -> list[str]:
        """The names of all runs, each study before its trials."""
        return [*self.studies, *self._state.trials]

    @property
    def identity(self) -> dict[str, str]:
        """Tags that tell this campaign's runs from all others: a name may be used anew once its folder was removed."""
        opened = datetime.fromtimestamp(self._state.opened["time"], UTC).isoformat()
        return {"regtune.campaign": self.name, "regtune.opened": opened}

    @property
    def note(self) -> str:
        """What the experiment is about."""
        document = self._state.document
        methods = ", ".join(method.name for method in document.methods)
        return (
            f"Campaign **{document.name}**: {methods} on {document.dataset.name}, {document.model.name}.\n\n"
            f"One run a {'study' if self._replicated else 'method'}; its trials are nested below it. The ledger is "
            f"`{self._folder.ledger}`."
        )

    @property
    def dataset(self) -> tuple[str, str, dict[str, Any]]:
        """Name and digest of the data set, and what else is known of its training pool."""
        facts = self._state.opened["facts"]
        profile = {key: value for key, value in facts.items() if key != "data_digest"}
        return self._state.document.dataset.name, facts["data_digest"], profile

    def run(self, name: str) -> RunView:
        """The run of a study or of a trial."""
        return self._trial(self._state.trials[name]) if name in self._state.trials else self._study(name)

    @property
    def _replicated(self) -> bool:
        return self._state.document.search.replicates > 1

    def _tags(self, kind: str, study: Study) -> dict[str, str]:
        commit = self._state.opened["commit"]
        return {
            "kind": kind,
            "method": study.method,
            **({"replicate": str(study.replicate)} if self._replicated else {}),
            "mlflow.source.name": "tune.py",
            "mlflow.source.type": "LOCAL",
            # Behind a commit "+" means changed files; MLflow makes a link of the bare commit.
            **({"mlflow.source.git.commit": commit.rstrip("+")} if commit else {}),
        }

    def _trial(self, trial: Trial) -> RunView:
        tags = {
            **self._tags(trial.kind, self._state.document.study(trial.study)),
            "trial": trial.id,
            "seed": str(trial.seed),
            "status": trial.status or "running",
        }
        if trial.id in self._superseded:
            tags["superseded"] = "true"
        if trial.error:
            tags["error"] = f"{trial.error['class']}: {trial.error['message']}"
        return RunView(
            name=trial.id,
            parent=trial.study,
            status=_STATUS[trial.status],
            start=_milliseconds(trial.suggested_at),
            end=_milliseconds(trial.ended_at or (trial.times or [trial.suggested_at])[-1]),
            tags=tags,
            params={name: _text(value) for name, value in trial.params.items()},
            steps=tuple(
                Step(row["epoch"], _milliseconds(time), _numbers(row))
                for row, time in zip(trial.rows, trial.times, strict=True)
            ),
        )

    def _study(self, name: str) -> RunView:
        trials = [trial for trial in self._state.trials.values() if trial.study == name]
        steps, status = tuple(self._study_steps(name)), self._study_status(name, trials)
        start = _milliseconds(trials[0].suggested_at)
        return RunView(
            name=name,
            parent=None,
            status=status,
            start=start,
            end=steps[-1].time if steps else start,
            tags={
                **self._tags("study", self._state.document.study(name)),
                "status": status.lower(),
                "mlflow.note.content": self._study_note(name),
            },
            params={},
            steps=steps,
        )

    def _study_note(self, name: str) -> str:
        document = self._state.document
        study = document.study(name)
        seeds = ", ".join(map(str, document.final_seeds(study)))
        return (
            f"**{name}** in the campaign *{document.name}*: {document.most_trials(study.method)} search trials, then "
            f"the best configuration with the seeds {seeds}. A step of this run is one ended trial.\n\n"
            f"To reproduce the result: `uv run tune.py rerun {self._folder.best / name}.yaml`"
        )

    def _study_status(self, name: str, trials: list[Trial]) -> RunStatus:
        state, document = self._state, self._state.document
        if not state.searched_out(name) or not all(trial.ended for trial in trials):
            return "RUNNING"
        if document.search.trials and state.best(name) is None:
            return "FAILED"  # every search trial did, so that nothing can be refitted
        seeds = set(document.final_seeds(document.study(name)))
        return "FINISHED" if {trial.seed for trial in state.finals(name)} >= seeds else "RUNNING"

    def _study_steps(self, name: str) -> list[Step]:
        """One step for each ended trial: what the study has spent and found by then."""
        metric = self._state.metric
        steps, searched, epochs, best, finals = [], 0, 0, math.inf, []
        for number, trial in enumerate(self._ended.get(name, []), start=1):
            searched += trial.kind == "search"
            epochs += trial.epoch
            metrics = {"trials": searched, "epochs": epochs}
            if trial.kind == "search" and trial.status == "completed":
                best = min(best, trial.rows[-1][metric])
            if math.isfinite(best):
                metrics[f"best_{metric}"] = best
            if trial.kind == "final" and trial.status == "completed":
                # Refits of a configuration that was the best once are no part of the present one's mean.
                finals = [other for other in finals if other.number == trial.number] + [trial]
                metrics |= _summary(finals)
            steps.append(Step(number, _milliseconds(trial.ended_at), metrics))
        return steps


def _summary(finals: list[Trial]) -> dict[str, float]:
    """Mean, standard deviation (n - 1 in the denominator) and n over final trials, for every column of the test."""
    summary: dict[str, float] = {}
    for column in finals[-1].rows[-1]:
        if not column.startswith("test_"):
            continue
        values = [trial.rows[-1][column] for trial in finals]
        summary |= {f"{column}_mean": fmean(values), f"{column}_n": len(values)}
        if len(values) > 1:
            summary[f"{column}_std"] = stdev(values)
    return summary


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The columns that are metrics: finite numbers, without the epoch, which is their step."""
    return {
        name: value
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _text(value: Any) -> str:
    """A hyper-parameter as it stands in a campaign document."""
    return value if isinstance(value, str) else json.dumps(value)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
