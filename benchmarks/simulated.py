"""Campaigns whose workers follow a formula instead of training: all the rest is as it is in a real one.

Searcher, scheduler, ledger, Ray's actors and their reuse are the real ones; a trial's own work takes microseconds, so
that what is measured is what the platform adds.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Before ray, of which it sets what is read at import.
import tuner.search  # noqa: F401, isort: skip

import ray

from tuner.campaign import reading
from tuner.campaign.campaign import Campaign
from tuner.campaign.document import Document
from tuner.campaign.preflight import Facts
from tuner.campaign.run import Run
from tuner.search import driver, samplers, trainable

FACTS = Facts(400, 400, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")


class SimulatedRun(Run):
    """A run whose validation error falls with the epochs, to a level that the learning rate and the seed decide."""

    def rows(self, device: str, checkpoints=None, should_stop: Callable[[], bool] = bool) -> Iterator[dict[str, Any]]:
        off = math.log10(self.training.lr / 0.1) ** 2 + (self.seed % 97) / 970
        for epoch in range(1, self.training.epochs + 1):
            if should_stop():
                return
            error = min(0.9, (0.05 + 0.1 * off) * (1 + 4 / epoch))
            row = {"epoch": epoch, "lr": self.training.lr, "train_loss": 3 * error}
            row |= {"val_error": error, "val_nll": 4 * error, "val_ece": error / 2, "seconds": 1.0}
            if self.measure_on == "test" and epoch == self.training.epochs:
                row |= {"selected_epoch": epoch, "test_error": error, "test_nll": 4 * error, "test_ece": error / 2}
            yield row


class SimulatedTrainable(trainable.CampaignTrainable):
    """The campaign's own worker, but for the run that it carries out."""

    def setup(self, config: dict[str, Any]) -> None:
        trainable.Run = SimulatedRun  # in this worker process alone
        super().setup(config)

    def step(self) -> dict[str, Any]:
        if runs := self._assignment.get("probe"):
            return {"probe": [dict.fromkeys(runs, 0.001)]}
        return super().step()


def document(
    storage: Path, name: str, methods: list[str], epochs: int, concurrent: int, search: dict[str, Any]
) -> Document:
    """A campaign of these methods with two final seeds; `concurrent` trials run at once."""
    return reading.check(
        {
            "name": name,
            "dataset": {"name": "digits"},
            "split": {"validation_per_class": 20},
            "model": {"name": "preactresnet18", "width": 4},
            "methods": methods,
            "training": {
                "epochs": epochs,
                "batch_size": 50,
                "lr": 0.1,
                "weight_decay": 5e-4,
                "schedule": {"name": "onecycle"},
            },
            "search": search,
            "final": {"seeds": [0, 1], "select": "last"},
            "resources": {"cpu": 1, "max_concurrent": concurrent},
            "storage": str(storage),
        },
        name,
    )


@contextmanager
def ray_session(folder: str, actors: int) -> Iterator[None]:
    """A Ray that has room for so many trials, on however few cores there are."""
    ray.init(
        num_cpus=actors,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def run(campaign: Campaign, when_started: Callable[[], None] = lambda: None, tpe: str | None = None) -> None:
    """Runs what is left of a campaign on the Ray that is up; the study of the method `tpe` is searched by TPE."""
    suggest = samplers.suggest

    def suggest_by(space, paper, trials, known, search, study, number):
        chosen = search.model_copy(update={"sampler": "tpe"}) if study.method == tpe else search
        return suggest(space, paper, trials, known, chosen, study, number)

    with patch.object(driver, "CampaignTrainable", SimulatedTrainable), patch.object(samplers, "suggest", suggest_by):
        driver.execute(campaign, campaign.document.name, lambda seconds, workers: when_started())
