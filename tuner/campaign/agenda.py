"""What to run next, as a function of the state: nothing is remembered between two calls."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from tuner.campaign.fold import State, Trial


@dataclass(frozen=True)
class Resume:
    """Go on with a trial that was suggested before and is run by nobody."""

    trial: Trial


@dataclass(frozen=True)
class Ask:
    """Ask the sampler of this method for search trial `number`."""

    method: str
    number: int


@dataclass(frozen=True)
class Refit:
    """Train the method's best configuration (that of `best`, or the paper's where nothing was searched) with a seed."""

    method: str
    best: Trial | None
    seed: int


Step = Resume | Ask | Refit | Literal["wait", "done"]


def next_step(state: State, running: Set[str]) -> Step:
    """The next step, given the ids of the trials that are being run.

    Unended trials come first, in their old order. Then the studies are searched in turn, the one with the fewest trials
    first. Final trials of a finished study fill what is idle. "wait" is returned only while something runs.
    """
    for trial in state.unended():
        if trial.id not in running:
            return Resume(trial)
    return _search(state) or _final(state) or ("wait" if running and not _all_told(state) else "done")


def _search(state: State) -> Ask | None:
    search = state.document.search
    open_studies = []
    for method in state.document.methods:
        trials = state.searched(method.name)
        live = sum(not trial.told for trial in trials)
        if len(trials) < search.trials and live < search.concurrent:
            open_studies.append(Ask(method.name, len(trials)))
    return min(open_studies, key=lambda ask: ask.number, default=None)


def _final(state: State) -> Refit | None:
    for method in state.document.methods:
        best = state.best(method.name)
        if not state.searched_out(method.name) or (state.document.search.trials and best is None):
            continue
        done = {trial.seed for trial in state.finals(method.name)}
        for seed in state.document.final.seeds:
            if seed not in done:
                return Refit(method.name, best, seed)
    return None


def _all_told(state: State) -> bool:
    return all(state.searched_out(method.name) for method in state.document.methods)
