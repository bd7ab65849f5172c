"""What to run next, as a function of the state: nothing is remembered between two calls."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from tuner.campaign.fold import State
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial


@dataclass(frozen=True)
class Resume:
    """Go on with a trial that was suggested before and is run by nobody."""

    trial: Trial


@dataclass(frozen=True)
class Supersede:
    """End a final trial that was not finished when its study, extended, found a better configuration."""

    trial: Trial


@dataclass(frozen=True)
class Ask:
    """Ask the sampler of this study for search trial `number`."""

    study: Study
    number: int


@dataclass(frozen=True)
class Refit:
    """Train the study's best configuration (that of `best`, or the paper's where nothing was searched) with a seed."""

    study: Study
    best: Trial | None
    seed: int


Step = Resume | Supersede | Ask | Refit | Literal["wait", "done"]


def next_step(state: State, running: Set[str]) -> Step:
    """The next step, given the ids of the trials that are being run.

    Unended trials come first, in their old order. Then the studies are searched in turn, the one with the fewest trials
    first. Final trials of a finished study fill what is idle. "wait" is returned while something runs, and "done" only
    when nothing does: until then a worker may die, and its trial be up again.
    """
    return _unended(state, running) or _search(state) or _final(state) or ("wait" if running else "done")


def _unended(state: State, running: Set[str]) -> Resume | Supersede | None:
    for trial in state.unended():
        if trial.id in running:
            continue
        if trial.kind == "search":
            return Resume(trial)
        if state.searched_out(trial.study):  # else it is not known yet whether this is still the best configuration
            return Supersede(trial) if trial in state.superseded(trial.study) else Resume(trial)
    return None


def _search(state: State) -> Ask | None:
    open_studies = [
        Ask(study, len(state.searched(study.name)))
        for study in state.document.studies
        if len(state.live(study.name)) < state.document.search.concurrent and state.may_suggest(study.name)
    ]
    return min(open_studies, key=lambda ask: ask.number, default=None)


def _final(state: State) -> Refit | None:
    for study in state.document.studies:
        best = state.best(study.name)
        if not state.searched_out(study.name) or (state.document.search.trials and best is None):
            continue
        begun = {trial.seed for trial in state.finals(study.name)}
        for seed in state.document.final_seeds(study):
            if seed not in begun:
                return Refit(study, best, seed)
    return None
