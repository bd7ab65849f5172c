"""One Ray Tune run that carries a campaign: searches and final trials of all methods, on workers that are reused."""

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray import tune

from tuner.campaign.campaign import Campaign
from tuner.campaign.document import Resources
from tuner.campaign.faults import DocumentError, Fault
from tuner.search.probe import Probe
from tuner.search.scheduler import LedgerScheduler
from tuner.search.searcher import LedgerSearcher
from tuner.search.trainable import CampaignTrainable

WORKER_DEATHS = 3
"""How often a trial may lose its worker before it is given up."""

_QUIET_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new reporter prints even when it is told to be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Ray's own snapshots are never read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a signal stops the campaign, which then ends Ray's run
}


class Interrupted(Exception):
    """The campaign was stopped by a signal; `signal` is its number. The same command goes on with it."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


@contextmanager
def ray_session() -> Iterator[None]:
    """A Ray of our own on this machine: no dashboard, nothing of its output on the screen."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a trial without a GPU sees none
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def workers(resources: Resources, file: str) -> int:
    """Trials that run at once on what Ray has; raises DocumentError if not even one fits."""
    have = ray.cluster_resources()
    fits = [have.get(kind, 0) / asked for kind, asked in (("CPU", resources.cpu), ("GPU", resources.gpu)) if asked]
    count = int(min(fits))
    if count < 1:
        sentence = (
            f"a trial asks for {resources.cpu:g} CPUs and {resources.gpu:g} GPUs, but there are only "
            f"{have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs; ask for less."
        )
        raise DocumentError([Fault(file, "resources", sentence)])
    return min(count, resources.max_concurrent or count)


def execute(campaign: Campaign, file: str, when_probed: Callable[[dict[str, float], int], None]) -> None:
    """Runs what the campaign still has to run.

    Args:
        campaign: opened, and not yet complete.
        file: where its document came from, for the faults that only a worker finds.
        when_probed: called before the first trial with the seconds of a step of each method, and the number of workers.
    Raises:
        DocumentError: there is no room for a trial, or a method failed on its first batches; no trial was started.
        Interrupted: a signal stopped it; all is recorded, and the running trials have saved their position.
    """
    os.environ.update(_QUIET_TUNE)
    resources = campaign.document.resources
    concurrent = workers(resources, file)
    probe = Probe(campaign.document, concurrent, lambda seconds: when_probed(seconds, concurrent))
    scratch = tempfile.mkdtemp(prefix="regtune-")
    tuner = tune.Tuner(
        tune.with_resources(CampaignTrainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(campaign, probe),
            scheduler=LedgerScheduler(campaign, probe),
            num_samples=-1,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: f"{trial.config['trial']}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="tune",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
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
