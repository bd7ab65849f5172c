"""What a campaign found, per method and between methods, folded from its state. Facts only: `verdict` words them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np

from tuner.campaign.document import Document
from tuner.campaign.fold import State
from tuner.campaign.ledger import LedgerError
from tuner.campaign.parity import TOLERANCE, Parity
from tuner.campaign.spaces import Space
from tuner.campaign.study import Study
from tuner.campaign.trial import Spent, Trial
from tuner.reporting.notation import budget
from tuner.reporting.statistics import CONFIDENCE, Comparison, Summary, holm


@dataclass(frozen=True)
class StudyResult:
    """One search, the setting that it chose, and the final runs of that setting."""

    name: str
    method: str
    replicate: int
    metric: str  # the column of a row that the search made small
    space: Space
    searched: tuple[Trial, ...]
    best: Trial | None
    paper: Trial | None  # the search trial that ran the paper's own setting
    finals: tuple[Trial, ...]
    superseded: tuple[Trial, ...]  # final runs of a setting that was the best before the campaign was extended
    search_to_come: int
    finals_to_come: int

    @property
    def search_spent(self) -> Spent:
        return Spent.of(self.searched)

    @property
    def final_spent(self) -> Spent:
        return Spent.of(self.finals)

    @property
    def search_ended(self) -> int:
        return _ended(self.searched)

    @property
    def finals_ended(self) -> int:
        return _ended(self.finals)

    @property
    def counts(self) -> Counter[str]:
        """Ended search trials by status."""
        return Counter(trial.status for trial in self.searched if trial.ended)

    @property
    def broken(self) -> list[Trial]:
        """Trials that failed or diverged, with their `error`."""
        trials = (*self.searched, *self.superseded, *self.finals)
        return [trial for trial in trials if trial.status in ("failed", "diverged")]

    @property
    def measured(self) -> list[Trial]:
        """The final runs whose last row holds what was measured on the test set."""
        return [trial for trial in self.finals if trial.status == "completed"]

    def tested(self, metric: str = "test_error") -> dict[int, float]:
        """A test metric of the final runs by seed; empty where it was not measured."""
        rows = {trial.seed: trial.rows[-1] for trial in self.measured}
        return {seed: row[metric] for seed, row in rows.items() if metric in row}

    def summary(self, metric: str = "test_error") -> Summary | None:
        """A test metric over the final seeds."""
        values = self.tested(metric)
        return Summary.of(list(values.values())) if values else None

    @property
    def best_error(self) -> float | None:
        """Validation error of the chosen search trial at its last epoch."""
        return full_length_error(self.best)

    @property
    def paper_error(self) -> float | None:
        """Validation error of the paper's setting in the search, None if it was stopped early."""
        return full_length_error(self.paper)

    @property
    def tuning_gain(self) -> float | None:
        """How much lower the search got the validation error than the paper's setting has it; one run each."""
        return None if None in (self.best_error, self.paper_error) else self.paper_error - self.best_error

    @property
    def final_error(self) -> float | None:
        """Mean validation error of the final runs at their last epoch, None where they were fitted on it as well."""
        errors = [full_length_error(trial) for trial in self.measured]
        return None if not errors or None in errors else float(np.mean(errors))

    @property
    def optimism(self) -> float | None:
        """How much better the chosen trial looked in the search than the same setting does over the final seeds."""
        return None if None in (self.best_error, self.final_error) else self.final_error - self.best_error

    @property
    def audits(self) -> list[Trial]:
        """Stopped trials that were let run to their end, to price the stopping."""
        return [trial for trial in self.searched if trial.status == "audited"]

    @property
    def wrongly_stopped(self) -> list[Trial]:
        """The audited trials that ended below the best one of the search: choices that early stopping cost."""
        if self.best is None:
            return []
        return [trial for trial in self.audits if trial.rows[-1][self.metric] < self.best.rows[-1][self.metric]]


def full_length_error(trial: Trial | None) -> float | None:
    """Validation error at the last epoch of a trial that ran to its end, audited ones included."""
    if trial is None or trial.status not in ("completed", "audited"):
        return None
    return trial.rows[-1].get("val_error")


@dataclass(frozen=True)
class MethodResult:
    """One method: its studies, of which there are several where the whole search is replicated.

    What the methods are compared by is a value a final seed where there is one study, and a value a study, the mean
    over its seeds, where there are several: only then does the spread of the values hold the noise of tuning.
    """

    name: str
    studies: tuple[StudyResult, ...]

    @property
    def replicated(self) -> bool:
        return len(self.studies) > 1

    @property
    def searched(self) -> tuple[Trial, ...]:
        return tuple(trial for study in self.studies for trial in study.searched)

    @property
    def finals(self) -> tuple[Trial, ...]:
        return tuple(trial for study in self.studies for trial in study.finals)

    @property
    def superseded(self) -> tuple[Trial, ...]:
        return tuple(trial for study in self.studies for trial in study.superseded)

    @property
    def broken(self) -> list[Trial]:
        return [trial for study in self.studies for trial in study.broken]

    @property
    def measured(self) -> list[Trial]:
        """The final runs whose last row holds what was measured on the test set."""
        return [trial for study in self.studies for trial in study.measured]

    @property
    def search_spent(self) -> Spent:
        return Spent.of(self.searched)

    @property
    def search_to_come(self) -> int:
        return sum(study.search_to_come for study in self.studies)

    @property
    def finals_to_come(self) -> int:
        return sum(study.finals_to_come for study in self.studies)

    def tested(self, metric: str = "test_error") -> dict[int, float]:
        """A test metric by final seed or, where the study is replicated, its mean by replicate."""
        if not self.replicated:
            return self.studies[0].tested(metric)
        means = {study.replicate: study.summary(metric) for study in self.studies}
        return {replicate: summary.mean for replicate, summary in means.items() if summary}

    def summary(self, metric: str = "test_error") -> Summary | None:
        """A test metric over the seeds of the one study, or over the studies."""
        values = self.tested(metric)
        return Summary.of(list(values.values())) if values else None

    def spread_within(self, metric: str = "test_error") -> float | None:
        """Standard deviation over the seeds inside a study, pooled over the studies; None without two seeds in one."""
        summaries = [summary for study in self.studies if (summary := study.summary(metric)) and summary.n > 1]
        freedom = sum(summary.n - 1 for summary in summaries)
        return sqrt(sum((s.n - 1) * s.std**2 for s in summaries) / freedom) if freedom else None

    @property
    def best_error(self) -> float | None:
        """Validation error of the chosen search trial at its last epoch, the mean where there are several studies."""
        errors = [study.best_error for study in self.studies if study.best_error is not None]
        return float(np.mean(errors)) if errors else None


@dataclass(frozen=True)
class Pair:
    """Two methods. `p_adjusted` is the p-value after Holm over all pairs of the campaign."""

    first: str
    second: str
    comparison: Comparison
    p_adjusted: float

    @property
    def shown(self) -> bool:
        """Whether the data show a difference, with what all pairs together may claim falsely held at 5 %."""
        return self.p_adjusted < 1 - CONFIDENCE


@dataclass(frozen=True)
class Results:
    """A campaign's results; `methods` are in the order of the document."""

    document: Document
    opened: dict[str, Any]  # the ledger's first record: versions, commit, digests, counts of images
    methods: tuple[MethodResult, ...]
    wall_seconds: float  # in which a driver ran it

    @classmethod
    def of(cls, state: State) -> "Results":
        """The results so far.

        Raises:
            LedgerError: the ledger is still empty.
        """
        if state.document is None:
            raise LedgerError("The ledger holds no record yet: the campaign was not started.")
        studies = [_study_result(state, study) for study in state.document.studies]
        methods = tuple(
            MethodResult(method.name, tuple(study for study in studies if study.method == method.name))
            for method in state.document.methods
        )
        return cls(state.document, state.opened, methods, state.wall_seconds)

    @property
    def studies(self) -> tuple[StudyResult, ...]:
        return tuple(study for method in self.methods for study in method.studies)

    @property
    def replicated(self) -> bool:
        """Whether every method has several studies."""
        return self.document.search.replicates > 1

    @property
    def finished(self) -> bool:
        return not any(method.search_to_come or method.finals_to_come for method in self.methods)

    @cached_property
    def obstacles(self) -> tuple[str, ...]:
        """Why the methods cannot be ranked; empty where they can."""
        return tuple(_obstacles(self))

    @property
    def ranked(self) -> tuple[MethodResult, ...]:
        """Lowest mean test error first where a ranking is honest, else in the order of the document."""
        if self.obstacles:
            return self.methods
        return tuple(sorted(self.methods, key=lambda method: method.summary().mean))

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two methods with a common final seed or replicate, in the order of `ranked`, by their test error."""
        compared = [
            (first.name, second.name, comparison)
            for first, second in combinations(self.ranked, 2)
            if (comparison := Comparison.paired(first.tested(), second.tested()))
        ]
        # A pair that could not be tested counts as one of the questions asked.
        adjusted = holm([1.0 if comparison.p is None else comparison.p for *_, comparison in compared])
        return tuple(Pair(*entry, p) for entry, p in zip(compared, adjusted, strict=True))

    @cached_property
    def parities(self) -> tuple[Parity, ...]:
        """The searches' budgets in each unit; the document declares one of them."""
        spent = {method.name: method.search_spent for method in self.methods}
        return tuple(Parity(unit, {name: getattr(s, unit) for name, s in spent.items()}) for unit in TOLERANCE)

    @property
    def parity(self) -> Parity:
        """The one that the document declares."""
        return next(parity for parity in self.parities if parity.unit == self.document.search.parity)


def _study_result(state: State, study: Study) -> StudyResult:
    document, name = state.document, study.name
    searched, finals, best = state.searched(name), state.finals(name), state.best(name)
    nothing_to_refit = document.search.trials > 0 and best is None and state.searched_out(name)
    trials = document.most_trials(study.method) if state.may_suggest(name) else len(searched)
    return StudyResult(
        name=name,
        method=study.method,
        replicate=study.replicate,
        metric=state.metric,
        space=document.space(study.method),
        searched=tuple(searched),
        best=best,
        paper=_paper_trial(document, study.method, searched),
        finals=tuple(finals),
        superseded=tuple(state.superseded(name)),
        search_to_come=trials - _ended(searched),
        finals_to_come=0 if nothing_to_refit else len(document.final_seeds(study)) - _ended(finals),
    )


def _ended(trials: Iterable[Trial]) -> int:
    return sum(trial.ended for trial in trials)


def _paper_trial(document: Document, method: str, searched: Sequence[Trial]) -> Trial | None:
    """Trial 0, unless the space leaves the paper's setting out, so that it was drawn like any other."""
    try:
        paper = document.paper_setting(method)
    except ValueError:
        return None  # a method of another package, which need not be there to read a report
    return next((trial for trial in searched if trial.number == 0 and _plain(trial.params) == _plain(paper)), None)


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """As the ledger's JSON has them: a tuple is a list there."""
    return json.loads(json.dumps(params))


def _obstacles(results: Results) -> Iterable[str]:
    if not results.finished:
        yield "the campaign is not finished"
    for study in results.studies:
        runs, seeds = len(study.tested()), len(results.document.final.seeds)
        if study.search_to_come or study.finals_to_come:
            continue
        if not study.finals:
            yield f"no trial of {study.name} ran to its last epoch, so nothing could be refitted"
        elif runs < seeds:
            yield f"{study.name} has {runs} of {seeds} final runs"
    parity = results.parity
    if results.finished and not parity.holds:
        low, high = parity.extremes
        yield (
            f"the searches are {100 * parity.gap:.2g} % apart in {parity.unit}, which the document asks to be equal "
            f"({low}: {budget(parity.spent[low], parity.unit)}, {high}: {budget(parity.spent[high], parity.unit)})"
        )
