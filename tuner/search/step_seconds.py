"""What one training step of each method takes, measured where the trials would run: for a plan, without a campaign."""

import ray
from ray.exceptions import RayError

from tuner.campaign.document import Document
from tuner.search.probe import Probe, measure
from tuner.search.trainable import device


def step_seconds(document: Document, workers: int, file: str) -> dict[str, float]:
    """Seconds of a step by method, with as many workers at once as a campaign would use.

    Args:
        document: the campaign's.
        workers: trials that run at once on the Ray that this process has joined.
        file: where the document came from.
    Raises:
        DocumentError: a method failed on its first batches.
    """
    seconds: dict[str, float] = {}
    probe, resources = Probe(document, workers, seconds.update), document.resources
    held = {"num_cpus": resources.cpu, "num_gpus": resources.gpu, "resources": resources.custom}
    task = ray.remote(**held, max_retries=0)(_measured)
    shares = iter(probe.next_share, None)
    running = [(share, task.remote(share)) for share in shares]
    for share, outcome in running:
        try:
            probe.record(ray.get(outcome))
        except RayError:  # what a method raises is an outcome; this is a process that died
            probe.lost(share)
    probe.refuse_failures(file)
    return seconds


def _measured(share: dict) -> dict[str, float | str]:
    return measure(share, device())
