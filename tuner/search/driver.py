"""One Ray Tune run that carries a campaign: searches and final trials of all methods, on workers that are reused."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray import tune

from tuner.campaign.campaign import Campaign
from tuner.search.nodes import Room, workers
from tuner.search.probe import Probe
from tuner.search.scheduler import LedgerScheduler
from tuner.search.searcher import LedgerSearcher
from tuner.search.trainable import CampaignTrainable

_QUIET_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new reporter prints even when it is told to be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Ray's own snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the searcher itself hands out no more than there is room for
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a signal stops the campaign, which then ends Ray's run
}


class Interrupted(Exception):
    """The campaign was stopped by a signal; `signal` is its number. The same command goes on with it."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


def execute(
    campaign: Campaign,
    file: str,
    when_probed: Callable[[dict[str, float], int], None],
    tell: Callable[[str], None] = print,
) -> None:
    """Runs what the campaign still has to run.

    Args:
        campaign: opened, and not yet complete.
        file: where its document came from, for the faults that only a worker finds.
        when_probed: called before the first trial with the seconds of a step of each method, and the number of workers.
        tell: takes a sentence for the screen, where the nodes come and go.
    Raises:
        DocumentError: there is no room for a trial, or a method failed on its first batches; no trial was started.
        Interrupted: a signal stopped it; all is recorded, and the running trials have saved their position.
    """
    os.environ.update(_QUIET_TUNE)
    resources = campaign.document.resources
    concurrent = workers(resources, file)
    probe = Probe(campaign.document, concurrent, lambda seconds: when_probed(seconds, concurrent))
    room = Room(resources, tell)
    scratch = tempfile.mkdtemp(prefix="regtune-")
    tuner = tune.Tuner(
        tune.with_resources(CampaignTrainable, {"cpu": resources.cpu, "gpu": resources.gpu, **resources.custom}),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(campaign, probe, room),
            scheduler=LedgerScheduler(campaign, probe),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: f"{trial.config['trial']}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="tune",
            verbose=0,
            callbacks=[room],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        with _stopped_by_signals(campaign) as received:
            if not campaign.stopping:
                tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if received:
        raise Interrupted(received[0])
    probe.refuse_failures(file)


@contextmanager
def _stopped_by_signals(campaign: Campaign) -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM stops the campaign softly, the second at once. Yields the signals that came."""
    received: list[int] = []

    def handle(number: int, frame: object) -> None:
        received.append(number)
        campaign.stop()
        if len(received) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
