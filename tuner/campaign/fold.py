"""The state of a campaign as a fold over its ledger: `state.apply(record)` for each line, in one go or in pieces.

Kinds of lines, each a fact that was true when it was written:

    opened     document, split and data digests, versions, git commit
    suggested  a trial with its hyper-parameters: it exists from here on
    attempt    another worker took the trial up; what older attempts still report is ignored from here on
    result     one epoch of a trial with the scheduler's decision on it
    ended      a trial is over, with its status
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from tuner.campaign.document import Document
from tuner.campaign.faults import path_of
from tuner.campaign.folder import names_an_entry
from tuner.campaign.ledger import FORMAT, LedgerError, Record
from tuner.campaign.rungs import Rungs

Kind = Literal["opened", "suggested", "attempt", "result", "ended"]
Decision = Literal["continue", "stop", "audit", "complete"]
Status = Literal["completed", "stopped", "audited", "diverged", "failed"]


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
    attempt: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # when each row was recorded
    decision: Decision = "continue"
    pruned_at: int | None = None
    status: Status | None = None
    error: dict[str, str] | None = None  # class, message, traceback of a failed or diverged trial
    ended_at: float | None = None

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


def _of_another_version(what: str, opened: Record) -> LedgerError:
    return LedgerError(
        f"This ledger has {what}; this version reads format {FORMAT}, with lines of the kinds "
        f"{', '.join(get_args(Kind))}. Go on with the version that began the campaign (commit "
        f"{opened.get('commit') or 'unknown'}), or give the campaign another name to begin anew. Nothing was changed."
    )


def _refuse_path(what: str, name: object) -> None:
    """What becomes a file's or a folder's name must not lead out of the campaign's folder, where it is deleted, too."""
    if not names_an_entry(name):
        raise LedgerError(
            f"This ledger names the {what} {name!r}. Files are written and deleted under that name, so it has to be "
            "one file name, without / and \\ and neither . nor ..: no version writes such a line, somebody else did. "
            "Nothing was changed. Restore the ledger from a copy, or give the campaign another name to begin anew."
        )


class State:
    """Everything that the ledger says so far."""

    def __init__(self) -> None:
        self.document: Document | None = None
        self.opened: Record = {}
        self.trials: dict[str, Trial] = {}
        self.rungs: dict[str, Rungs] = {}

    @classmethod
    def of(cls, records) -> "State":
        """The fold of all records."""
        state = cls()
        for record in records:
            state.apply(record)
        return state

    def apply(self, record: Record) -> None:
        """Folds one record in.

        Raises:
            LedgerError: it was written by a version of this code whose ledgers this one cannot read, or names a path
                where a name has to be.
        """
        if record["kind"] not in get_args(Kind):
            raise _of_another_version(f'a line of the unknown kind "{record["kind"]}"', self.opened)
        getattr(self, f"_{record['kind']}")(record)

    def _opened(self, record: Record) -> None:
        if record["format"] != FORMAT:
            raise _of_another_version(f"format {record['format']}", record)
        try:
            self.document = Document.model_validate(record["document"])
        except ValidationError as error:
            place = path_of(error.errors()[0]["loc"])
            raise _of_another_version(f"a document whose {place} is not understood", record) from None
        for method in self.document.methods:
            _refuse_path("method", method.name)
        self.opened = record
        search = self.document.search
        rungs = search.rungs(self.document.training)
        self.rungs = {method.name: Rungs(rungs, search.reduction) for method in self.document.methods}

    def _suggested(self, record: Record) -> None:
        _refuse_path("trial", record["trial"])
        self.trials[record["trial"]] = Trial(
            id=record["trial"],
            method=record["method"],
            kind=record["trial_kind"],
            number=record["number"],
            seed=record["seed"],
            params=record["params"],
            attributes=record["attributes"],
            suggested_at=record["time"],
        )

    def _attempt(self, record: Record) -> None:
        self.trials[record["trial"]].attempt = record["attempt"]

    def _result(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        row, pruned_before = record["row"], trial.pruned_at is not None
        trial.rows.append(row)
        trial.times.append(record["time"])
        trial.decision = record["decision"]
        if trial.kind == "search" and not pruned_before and row["epoch"] in self.rungs[trial.method].table:
            self.rungs[trial.method].record(row["epoch"], trial.id, row[self.metric])
        if trial.decision in ("stop", "audit"):
            trial.pruned_at = row["epoch"]

    def _ended(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        trial.status = record["status"]
        trial.error = record.get("error")
        trial.ended_at = record["time"]

    @property
    def metric(self) -> str:
        """The column of a row that the search makes small."""
        return f"val_{self.document.search.metric}"

    def searched(self, method: str) -> list[Trial]:
        """The search trials of a method's study, in the order in which they were suggested."""
        return [trial for trial in self.trials.values() if trial.kind == "search" and trial.method == method]

    def finals(self, method: str) -> list[Trial]:
        """The trials that refit the method's best configuration, one a seed."""
        return [trial for trial in self.trials.values() if trial.kind == "final" and trial.method == method]

    def searched_out(self, method: str) -> bool:
        """Whether every trial of the study was suggested and told."""
        trials = self.searched(method)
        return len(trials) == self.document.search.trials and all(trial.told for trial in trials)

    def best(self, method: str) -> Trial | None:
        """The study's best so far: the metric at the last epoch among full-length trials, ties by NLL, then number."""
        full = [trial for trial in self.searched(method) if trial.status == "completed"]
        return min(full, key=lambda t: (t.rows[-1][self.metric], t.rows[-1]["val_nll"], t.number), default=None)

    def unended(self) -> list[Trial]:
        """Trials that still have to run or to go on."""
        return [trial for trial in self.trials.values() if not trial.ended]
