"""Ray's searcher interface over a campaign: Ray asks here for the next trial."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuner.campaign.agenda import Ask, Refit, Resume, Supersede, next_step
from tuner.campaign.campaign import Campaign
from tuner.campaign.run import Run
from tuner.campaign.spaces import contains
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial
from tuner.campaign.warm_start import known, setting_to_try
from tuner.search import samplers
from tuner.search.probe import Probe
from tuner.search.trainable import assignment

WORKER_DEATHS = 3
"""A trial over which so many workers die, with no epoch recorded between them, is given up."""


class LedgerSearcher(Searcher):
    """Hands out what the agenda says. A suggestion is in the ledger before Ray hears of it.

    A worker's death ends Ray's trial, and not ours: the agenda finds it run by nobody, and the next trial of Ray's goes
    on with it. Ray's own retries would count the nodes that are lost over a long trial against it, and one death twice
    that comes while a worker is handed from one trial to the next.

    Args:
        campaign: that is run.
        probe: what is tried before its first trial.
        room: how many trials may be out at this moment; any number if not given.
    """

    def __init__(self, campaign: Campaign, probe: Probe, room: Callable[[], float] = lambda: math.inf):
        super().__init__()
        self._room = room
        self._campaign = campaign
        self._probe = probe
        self._probed: dict[str, dict[str, Run]] = {}  # Ray's trial id -> what it tries
        self._carried: dict[str, str] = {}  # Ray's trial id -> ours
        self._deaths: Counter[tuple[str, int]] = Counter()  # over which trial, behind which epoch

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The assignment of Ray trial `trial_id`; None to be asked again later, FINISHED when nothing is left."""
        if self._campaign.stopping or self._probe.failed:
            return Searcher.FINISHED
        if len(self._probed) + len(self._carried) >= self._room():
            return None
        if share := self._probe.next_share():
            self._probed[trial_id] = share
            return {"trial": f"probe-{len(self._probed)}", "probe": share}
        if not self._probe.done:
            return None
        running = set(self._carried.values())
        while isinstance(step := next_step(self._campaign.state, running), Supersede):
            self._campaign.supersede(step.trial)
        if step == "wait":
            return None
        if step == "done":
            return Searcher.FINISHED
        trial = self._trial(step)
        self._carried[trial_id] = trial.id
        return assignment(self._campaign, trial)

    def _trial(self, step: Resume | Ask | Refit) -> Trial:
        campaign = self._campaign
        match step:
            case Resume(trial):
                return trial
            case Refit(study, best, seed):
                return campaign.suggest_final(study, best, seed)
            case Ask(study, number):
                return campaign.suggest_search(study, number, *self._params(study, number))

    def _params(self, study: Study, number: int) -> samplers.Suggestion:
        """What has to be tried whatever a sampler says comes first: the paper's setting, then an earlier campaign's."""
        state, document = self._campaign.state, self._campaign.document
        space, paper = document.space(study.method), document.paper_setting(study.method)
        warm_start = state.opened["warm_start"]
        earlier = setting_to_try(warm_start, study.method)
        first = [setting for setting in (paper, earlier) if contains(space, setting)]
        if number < len(first) and first[number] not in first[:number]:
            return first[number], {}
        trials, learnt = state.searched(study.name), known(warm_start, study.method)
        return samplers.suggest(space, paper, trials, learnt, document.search, study, number)

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Ray is through with a trial; with `error` its worker died."""
        if share := self._probed.pop(trial_id, None):
            if error and self._died("probe of " + ", ".join(share), 0):
                self._probe.lost(share)
            elif error:
                self._probe.put_back(share)
            return
        trial = self._campaign.state.trials[self._carried.pop(trial_id)]
        if error and self._died(trial.id, trial.epoch):
            self._campaign.lost(
                trial.id,
                f"{WORKER_DEATHS} worker processes died over it, one after the other. Where the machine ran out of "
                "memory, try a smaller batch_size, or a smaller resources.max_concurrent.",
            )

    def _died(self, over: str, epoch: int) -> bool:
        """Counts a worker's death; whether it is the last one that is put up with."""
        self._deaths[over, epoch] += 1
        return self._deaths[over, epoch] == WORKER_DEATHS

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        """The scheduler has recorded it already."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger is all there is to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a campaign is resumed from its ledger."""

    def __getstate__(self):
        return {}
