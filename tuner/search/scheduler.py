"""Ray's scheduler interface over a campaign: every decision is in the ledger before Ray acts on it."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from tuner.campaign.campaign import Campaign, Report
from tuner.search.probe import Probe


class LedgerScheduler(FIFOScheduler):
    """Records what a worker hands over and passes the campaign's decision on.

    It is the scheduler, not a callback, that records: Ray asks it before the callbacks run, and the decision belongs
    into the same line as the row it was made on.
    """

    def __init__(self, campaign: Campaign, probe: Probe):
        super().__init__()
        self._campaign = campaign
        self._probe = probe
        self._live: list[Trial] = []  # Ray's trials that have not ended, in the order in which they came

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._live = [*(other for other in self._live if other is not trial and not other.is_finished()), trial]

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first of those that wait. Ray's own looks through all that ever were, at each of its steps."""
        return self._first_pending()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "probe" in result:
            self._probe.record(result["probe"][0])
            return self.CONTINUE if self._waits() else self.STOP
        [report] = result["report"]
        return self.CONTINUE if self._campaign.receive(Report(**report)) else self.STOP

    def _waits(self) -> bool:
        """Whether a worker that is through with its share stays for the others: not if it could lend them a hand."""
        if self._probe.done or self._campaign.stopping:
            return False
        return self._probe.handed_out and self._first_pending() is None

    def _first_pending(self) -> Trial | None:
        return next((trial for trial in self._live if trial.status == Trial.PENDING), None)

    def __getstate__(self):
        return {}
