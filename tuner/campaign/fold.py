"""The state of a campaign as a fold over its ledger: `state.apply(record)` for each line, in one go or in pieces.

Kinds of lines, each a fact that was true when it was written:

    opened     document, split and data digests, versions, git commit
    resumed    a driver took the campaign up again: its resources, versions, git commit
    extended   the document that the campaign goes on with: more trials, seeds or methods
    suggested  a trial with its hyper-parameters: it exists from here on
    attempt    another worker took the trial up; what older attempts still report is ignored from here on
    result     one epoch of a trial with the scheduler's decision on it
    ended      a trial is over, with its status
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import ValidationError

from tuner.campaign.document import Document
from tuner.campaign.faults import path_of
from tuner.campaign.folder import names_an_entry
from tuner.campaign.ledger import FORMAT, LedgerError, Record
from tuner.campaign.settings import Resources
from tuner.campaign.stopping import StoppingRule, stopping_rule
from tuner.campaign.trial import Spent, Trial

Kind = Literal["opened", "resumed", "extended", "suggested", "attempt", "result", "ended"]

BEGINNINGS = ("opened", "resumed", "extended")
"""Before such a line no driver ran: the time up to it is nobody's."""


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
    """Everything that the ledger says so far. `document` is the latest one, `opened["document"]` the first."""

    def __init__(self) -> None:
        self.document: Document | None = None
        self.opened: Record = {}
        self.trials: dict[str, Trial] = {}
        self.rules: dict[str, StoppingRule] = {}
        self.wall_seconds = 0.0
        """How long a driver has run the campaign."""
        self._studies: dict[str, _Study] = {}
        self._unended: dict[str, Trial] = {}
        self._time = 0.0

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
        if record["kind"] not in BEGINNINGS:
            self.wall_seconds += record["time"] - self._time
        self._time = record["time"]

    def _opened(self, record: Record) -> None:
        if record["format"] != FORMAT:
            raise _of_another_version(f"format {record['format']}", record)
        self.opened = record
        self.rules, self._studies = {}, {}  # a campaign without a trial may be opened again, with another document
        self._take(record)

    def _resumed(self, record: Record) -> None:
        resources = Resources.model_validate(record["resources"])
        self.document = self.document.model_copy(update={"resources": resources})

    def _extended(self, record: Record) -> None:
        self._take(record)

    def _take(self, record: Record) -> None:
        try:
            self.document = Document.model_validate(record["document"])
        except ValidationError as error:
            place = path_of(error.errors()[0]["loc"])
            raise _of_another_version(f"a document whose {place} is not understood", self.opened) from None
        search, training = self.document.search, self.document.training
        for study in self.document.studies:
            _refuse_path("method", study.method)
            self._studies.setdefault(study.name, _Study(study.method))
            self.rules.setdefault(study.name, stopping_rule(search, training))

    def _suggested(self, record: Record) -> None:
        _refuse_path("trial", record["trial"])
        trial = Trial(
            id=record["trial"],
            method=record["method"],
            replicate=record["replicate"],
            kind=record["trial_kind"],
            number=record["number"],
            seed=record["seed"],
            params=record["params"],
            attributes=record["attributes"],
            suggested_at=record["time"],
        )
        if trial.study not in self._studies:
            raise LedgerError(
                f'This ledger has a trial of the study "{trial.study}", which its document does not have: no version '
                "writes such a line, somebody else did. Nothing was changed. Restore the ledger from a copy, or give "
                "the campaign another name to begin anew."
            )
        self.trials[trial.id] = self._unended[trial.id] = trial
        study = self._studies[trial.study]
        if trial.kind == "final":
            study.finals.append(trial)
        else:
            study.searched.append(trial)
            study.live[trial.id] = trial

    def _attempt(self, record: Record) -> None:
        self.trials[record["trial"]].attempt = record["attempt"]

    def _result(self, record: Record) -> None:
        trial, row = self.trials[record["trial"]], record["row"]
        if trial.kind == "search" and trial.pruned_at is None and self.metric in row:
            self.rules[trial.study].record(trial.number, row["epoch"], row[self.metric])
        trial.rows.append(row)
        trial.times.append(record["time"])
        trial.gpu_seconds += row["seconds"] * self.document.resources.gpu
        trial.cpu_seconds += row["seconds"] * self.document.resources.cpu
        trial.decision = record["decision"]
        if trial.decision in ("stop", "audit"):
            trial.pruned_at = row["epoch"]
            self._studies[trial.study].live.pop(trial.id, None)

    def _ended(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        trial.status = record["status"]
        trial.error = record.get("error")
        trial.ended_at = record["time"]
        self._unended.pop(trial.id)
        study = self._studies[trial.study]
        study.live.pop(trial.id, None)
        if trial.kind == "search" and trial.status == "completed":
            study.best = min(filter(None, (study.best, trial)), key=self._merit)

    def _merit(self, trial: Trial) -> tuple[float, float, int]:
        row = trial.rows[-1]
        return row[self.metric], row["val_nll"], trial.number

    @property
    def metric(self) -> str:
        """The column of a row that the search makes small."""
        return f"val_{self.document.search.metric}"

    def searched(self, study: str) -> list[Trial]:
        """The study's search trials, in the order in which they were suggested."""
        return self._studies[study].searched

    def live(self, study: str) -> Collection[Trial]:
        """Its search trials whose outcome the sampler does not know yet."""
        return self._studies[study].live.values()

    def finals(self, study: str) -> list[Trial]:
        """The trials that refit the study's best configuration, one a seed."""
        return [trial for trial in self._studies[study].finals if self._counts(trial)]

    def superseded(self, study: str) -> list[Trial]:
        """The trials that refit what was the best configuration before the campaign was extended."""
        return [trial for trial in self._studies[study].finals if not self._counts(trial)]

    def _counts(self, final: Trial) -> bool:
        best = self.best(final.study)
        return final.params == best.params if best else final.number is None

    def searched_out(self, study: str) -> bool:
        """Whether the study has suggested all that it may, and every trial of it was told."""
        return not self.may_suggest(study) and not self.live(study)

    def may_suggest(self, study: str) -> bool:
        """Whether trials are left to the study, and budget."""
        most = self.document.most_trials(self._studies[study].method)
        return len(self.searched(study)) < most and not self.spent_out(study)

    def spent(self, study: str) -> Spent:
        """What the study's search has cost so far."""
        return Spent.of(self.searched(study))

    def spent_out(self, study: str) -> bool:
        """Whether some budget of its search is used up."""
        budget = self.document.search.budget
        if budget is None:
            return False
        spent = self.spent(study)
        limits = (
            (budget.epochs, spent.epochs),
            (budget.gpu_hours, spent.gpu_hours),
            (budget.cpu_hours, spent.cpu_hours),
            (budget.wall_hours, self.wall_seconds / 3600),
        )
        return any(limit is not None and used >= limit for limit, used in limits)

    def best(self, study: str) -> Trial | None:
        """The study's best so far: the metric at the last epoch among full-length trials, ties by NLL, then number."""
        return self._studies[study].best

    def unended(self) -> list[Trial]:
        """Trials that still have to run or to go on."""
        return list(self._unended.values())


@dataclass
class _Study:
    """What the state has at hand of a study, so that no question about it goes through all trials."""

    method: str
    searched: list[Trial] = field(default_factory=list)
    finals: list[Trial] = field(default_factory=list)
    live: dict[str, Trial] = field(default_factory=dict)
    best: Trial | None = None
