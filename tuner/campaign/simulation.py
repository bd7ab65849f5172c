"""A recorded campaign played again: other schedulers, budgets and machines on the curves that its ledger holds.

The campaign's own code decides (agenda, stopping rules, fold); only the workers and the clock are simulated. Trial n of
a study always has the setting and the curve that were recorded as trial n: a sampler that learns would have suggested
others under another scheduler. What a simulation needs and no curve tells is assumed, and counted:

- a trial that is let run past the end of its recorded curve keeps its last values, and its epochs last as long as those
  that were recorded of it on average;
- epochs of final trials last as long as the recorded ones of the study's final trials, or else of its search trials.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import fmean

from tuner.campaign.agenda import Ask, Refit, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import LedgerError, Record
from tuner.campaign.settings import Search
from tuner.campaign.trial import Spent, Trial
from tuner.training.settings import Training

_BROKEN = ("diverged", "failed")


@dataclass(frozen=True)
class Setup:
    """What a campaign is played with: `workers` is how many trials run at once."""

    search: Search
    workers: int


@dataclass(frozen=True)
class Played:
    """What a campaign found and cost, as it ran or as it would have run."""

    setup: Setup
    wall_seconds: float
    spent: Spent
    search_trials: int
    stopped: int
    chosen: dict[str, int | None]
    """Of each study, the number of the search trial that is its best; None where none ran to its end."""
    regret: dict[str, float | None]
    """Of each study, how much worse the chosen trial was at its end than the best one recorded at full length."""
    extended: tuple[str, ...] = ()
    """Search trials that ran on past the end of what is recorded of them."""
    extended_epochs: int = 0

    @property
    def mean_regret(self) -> float | None:
        known = [regret for regret in self.regret.values() if regret is not None]
        return fmean(known) if known else None


def recorded(state: State) -> Played:
    """The campaign as it ran."""
    return _played(state, Setup(state.document.search, most_at_once(state)), state)


def simulate(state: State, setup: Setup) -> Played:
    """The recorded campaign under another setup.

    Raises:
        LedgerError: a study has no epoch recorded, so that there is nothing to play.
    """
    curves = _Curves(state)
    search = setup.search.model_copy(update={"trials": min(setup.search.trials, curves.most_trials)})
    with _Again(state, search) as again:
        again.play(curves, setup.workers)
    return _played(again.campaign.state, Setup(search, setup.workers), state, curves)


def replay(records: Iterable[Record], search: Search) -> State:
    """The search trials decided under `search` in the order in which their rows arrived in a ledger.

    Nothing is assumed here: a trial ends where it is stopped, or with the last row that is recorded of it.
    """
    records = list(records)
    with _Again(State.of(records), search) as again:
        for record in records:
            again.repeat(record)
    return again.campaign.state


def most_at_once(state: State) -> int:
    """How many trials ran at once at most: the workers there were, where there was enough to do."""
    moments = sorted(
        moment
        for trial in state.trials.values()
        if trial.times
        for moment in ((trial.suggested_at, 1), (trial.ended_at or trial.times[-1], -1))
    )
    running, most = 0, 1
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


class _Curves:
    """What is recorded of each trial, and what is assumed behind its end."""

    def __init__(self, state: State):
        self._state = state
        self._training: Training = state.document.training
        self.extended: dict[str, int] = {}
        """Epochs that were assumed, by trial."""

    @property
    def most_trials(self) -> int:
        """Search trials that every study has a curve for, or has no more of."""
        document, most = self._state.document, self._state.document.search.trials
        for study in document.studies:
            trials = self._state.searched(study.name)
            known = next((number for number, trial in enumerate(trials) if not self._known(trial)), len(trials))
            if known < document.most_trials(study.method):
                most = min(most, known)
        if not most:
            raise LedgerError("There is nothing to simulate: some search has no trial with a validation yet.")
        return most

    def _known(self, trial: Trial) -> bool:
        return trial.status in _BROKEN or any(self._state.metric in row for row in trial.rows)

    def search_trial(self, study: str, number: int) -> Trial:
        return self._state.searched(study)[number]

    def of_search(self, trial: Trial, name: str) -> Iterator[Report]:
        """One report an epoch: what is recorded, then what is assumed."""
        yield from (Report(name, 1, [row]) for row in trial.rows)
        if trial.status in _BROKEN:
            yield Report(name, 1, status=trial.status, error=trial.error)
            return
        seconds, shown = fmean(row["seconds"] for row in trial.rows), {}
        for row in trial.rows:
            shown |= {column: value for column, value in row.items() if column.startswith("val_")}
        for epoch in range(trial.epoch + 1, self._training.epochs + 1):
            self.extended[name] = self.extended.get(name, 0) + 1
            looked = shown if self._training.evaluates(epoch) else {}
            yield Report(name, 1, [{"epoch": epoch, "seconds": seconds, **looked}])

    def of_final(self, study: str, name: str) -> Iterator[Report]:
        """A final trial's epochs: nothing but how long they last matters."""
        seconds = self._final_seconds(study)
        for epoch in range(1, self._training.epochs + 1):
            yield Report(name, 1, [{"epoch": epoch, "seconds": seconds}])

    def _final_seconds(self, study: str) -> float:
        for trials in (self._state.finals(study), self._state.searched(study), self._state.trials.values()):
            if seconds := [row["seconds"] for trial in trials for row in trial.rows]:
                return fmean(seconds)
        return 0.0


@dataclass
class _Clocked:
    """A ledger in memory, written at the simulation's time."""

    state: State
    now: float
    ours: bool = True

    def append(self, *records: Record) -> None:
        for record in records:
            self.state.apply({**record, "time": self.now})


@dataclass
class _Again:
    """A campaign without a disk, begun as the recorded one was, and searched as `search` says."""

    was: State
    search: Search
    campaign: Campaign = field(init=False)

    def __enter__(self) -> "_Again":
        self._folder = tempfile.TemporaryDirectory()
        self._ledger = _Clocked(State(), self.was.opened["time"])
        self.campaign = Campaign(Folder(Path(self._folder.name)), self._ledger, self._ledger.state)
        document = self.was.document.model_copy(update={"search": self.search})
        self._ledger.append({**self.was.opened, "document": document.as_yaml()})
        return self

    def __exit__(self, *_) -> None:
        self._folder.cleanup()

    def play(self, curves: _Curves, workers: int) -> None:
        """Runs all to its end: whenever a worker is free it takes what the agenda says."""
        events: list[tuple[float, int, Report, Iterator[Report]]] = []  # in the order of time, then of entering
        order, running = count(), set()

        def come(reports: Iterator[Report]) -> None:
            if report := next(reports, None):
                seconds = sum(row["seconds"] for row in report.rows)
                heapq.heappush(events, (self._ledger.now + seconds, next(order), report, reports))

        while True:
            while len(running) < workers and (begun := self._begin(curves, running)):
                trial, reports = begun
                running.add(trial.id)
                come(reports)
            if not events:
                return
            self._ledger.now, _, report, reports = heapq.heappop(events)
            if self.campaign.receive(report):
                come(reports)
            else:
                running.discard(report.trial)

    def _begin(self, curves: _Curves, running: set[str]) -> tuple[Trial, Iterator[Report]] | None:
        match next_step(self.campaign.state, running):
            case Ask(study, number):
                then = curves.search_trial(study.name, number)
                trial = self.campaign.suggest_search(study, number, then.params, then.attributes)
                return trial, curves.of_search(then, trial.id)
            case Refit(study, best, seed):
                trial = self.campaign.suggest_final(study, best, seed)
                return trial, curves.of_final(study.name, trial.id)
        return None

    def repeat(self, record: Record) -> None:
        """Takes in one record of the recorded ledger, but for what was decided then."""
        self._ledger.now = record["time"]
        trial = self.campaign.state.trials.get(record.get("trial"))
        if record["kind"] == "suggested" and record["trial_kind"] == "search":
            self._ledger.append(record)
        elif trial is None or trial.ended:
            return
        elif record["kind"] == "result":
            self.campaign.receive(Report(trial.id, trial.attempt, [record["row"]]))
        elif record["kind"] == "ended" and record["status"] in _BROKEN:
            self.campaign.receive(Report(trial.id, trial.attempt, status=record["status"], error=record.get("error")))


def _played(state: State, setup: Setup, was: State, curves: _Curves | None = None) -> Played:
    studies = [study.name for study in state.document.studies]
    searched = [trial for study in studies for trial in state.searched(study)]
    best = {study: state.best(study) for study in studies}
    extended = curves.extended if curves else {}
    return Played(
        setup=setup,
        wall_seconds=state.wall_seconds,
        spent=Spent.of(state.trials.values()),
        search_trials=len(searched),
        stopped=sum(trial.pruned_at is not None for trial in searched),
        chosen={study: trial and trial.number for study, trial in best.items()},
        regret={study: _regret(trial, study, was) for study, trial in best.items()},
        extended=tuple(extended),
        extended_epochs=sum(extended.values()),
    )


def _regret(chosen: Trial | None, study: str, was: State) -> float | None:
    full = [trial.rows[-1][was.metric] for trial in was.searched(study) if trial.status in ("completed", "audited")]
    if chosen is None or not full:
        return None
    return chosen.rows[-1][was.metric] - min(full)
