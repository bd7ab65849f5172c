"""What a Ray worker runs for a campaign: one trial after the other, in the same process."""

import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune

from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.fold import Trial
from tuner.campaign.run import Run
from tuner.search.probe import measure
from tuner.training.checkpoint import Checkpoints

REPORT_SECONDS = 1.0
"""Epochs shorter than this are handed over together: each hand-over costs the driver some milliseconds."""

STOP_FILE_SECONDS = 0.2
"""How often the batch loop looks for the stop file, which may lie on a network file system."""


def assignment(campaign: Campaign, trial: Trial) -> dict[str, Any]:
    """The config of a Ray trial: all that a worker needs, as plain data."""
    return {
        "trial": trial.id,
        "run": campaign.run_of(trial).model_dump(mode="json"),
        "folder": str(campaign.folder.trial(trial.id)),
        "stop_file": str(campaign.folder.stop_file),
        "rungs": list(campaign.state.rungs[trial.method].table) if trial.kind == "search" else [],
    }


def device() -> str:
    """Ray shows a worker the GPU that it was given, and no other."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class CampaignTrainable(tune.Trainable):
    """Trains what its config assigns and hands over reports. Whatever goes wrong in a trial is a report, too:
    it never raises, so that Ray's failure counter is left for workers that die."""

    def setup(self, config: dict[str, Any]) -> None:
        self._assignment = config
        self._rows: Iterator[dict[str, Any]] | None = None
        if "probe" in config:
            return
        self._attempt, folders = _claim(Path(config["folder"]))
        self._checkpoints = Checkpoints(folders[-1], also=folders[:-1])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        if self._rows is not None:
            self._rows.close()

    def step(self) -> dict[str, Any]:
        # Ray flattens dictionaries, but not what is in a list.
        if "probe" in self._assignment:
            return {"probe": [measure(self._assignment["probe"], device())]}
        return {"report": [asdict(Report(self._assignment["trial"], self._attempt, *self._train()))]}

    def _train(self) -> tuple[list[dict[str, Any]], str, dict[str, str] | None]:
        """Rows, status and error up to the next hand-over: a rung, the end, or when enough time has passed."""
        rows: list[dict[str, Any]] = []
        started = time.monotonic()
        try:
            run = Run.model_validate(self._assignment["run"])
            if self._rows is None:
                self._rows = run.rows(device(), self._checkpoints, stop_poll(Path(self._assignment["stop_file"])))
            for row in self._rows:
                if broken := [name for name, value in row.items() if not math.isfinite(value)]:
                    return rows, "diverged", _divergence(row, broken)
                rows.append(row)
                if row["epoch"] == run.training.epochs:
                    return rows, "running", None
                if row["epoch"] in self._assignment["rungs"] or time.monotonic() - started > REPORT_SECONDS:
                    return rows, "running", None
            return rows, "interrupted", None
        except Exception as error:
            return rows, "failed", _failure(error)


def stop_poll(stop_file: Path) -> Callable[[], bool]:
    """Whether the stop file exists, looked up now and then."""
    looked, stop = -math.inf, False

    def should_stop() -> bool:
        nonlocal looked, stop
        if not stop and time.monotonic() - looked > STOP_FILE_SECONDS:
            looked, stop = time.monotonic(), stop_file.exists()
        return stop

    return should_stop


def _claim(folder: Path) -> tuple[int, list[Path]]:
    """Takes the next attempt at a trial for this worker alone: its number, and the folders of all attempts so far."""
    attempt = 1
    while True:
        try:
            (folder / f"attempt-{attempt}").mkdir(parents=True)
            return attempt, [folder / f"attempt-{n}" for n in range(1, attempt + 1)]
        except FileExistsError:
            attempt += 1


def _divergence(row: dict[str, Any], broken: list[str]) -> dict[str, str]:
    values = ", ".join(f"{name} is {row[name]}" for name in broken)
    return {"class": "Diverged", "message": f"{values} after epoch {row['epoch']}"}


def _failure(error: Exception) -> dict[str, str]:
    return {"class": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
