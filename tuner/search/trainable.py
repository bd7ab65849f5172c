"""What a Ray worker runs for a campaign: one trial after the other, in the same process."""

import math
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune

from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.run import Run
from tuner.campaign.trial import Trial
from tuner.search import watch
from tuner.search.failure import failure_of
from tuner.search.probe import WAIT_SECONDS, measure
from tuner.training.checkpoint import Checkpoints, SaveError

REPORT_SECONDS = 1.0
"""Epochs shorter than this are handed over together: each hand-over costs the driver some milliseconds."""

STOP_FILE_SECONDS = 0.2
"""How often the batch loop looks for the stop file, which may lie on a network file system."""


def assignment(campaign: Campaign, trial: Trial) -> dict[str, Any]:
    """The config of a Ray trial: all that a worker needs, as plain data."""
    return {
        "trial": trial.id,
        "attempt": trial.attempt,
        "run": campaign.run_of(trial).model_dump(mode="json"),
        "folder": str(campaign.folder.trial(trial.id)),
        "stop_file": str(campaign.folder.stop_file),
        "rungs": list(campaign.state.rules[trial.study].epochs(trial.number)) if trial.kind == "search" else [],
    }


def device() -> str:
    """Ray shows a worker the GPU that it was given, and no other."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class CampaignTrainable(tune.Trainable):
    """Trains what its config assigns and hands over reports. Whatever goes wrong in a trial is a report, too:
    it never raises, so that an error of a Ray trial always is a worker that died."""

    def setup(self, config: dict[str, Any]) -> None:
        self._watch = watch.start()
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._assignment = config
        self._rows: Iterator[dict[str, Any]] | None = None
        self._untried: dict[str, Run] = config.get("probe", {})
        if "probe" in config:
            return
        folder = Path(config["folder"])
        self._attempt, self._unclaimed = _claim(folder, config["attempt"])
        *earlier, self._own = (_attempt_folder(folder, attempt) for attempt in range(1, self._attempt + 1))
        self._checkpoints = Checkpoints(self._own, also=earlier)
        self._watch.next_attempt = _attempt_folder(folder, self._attempt + 1)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        if self._rows is not None:
            self._rows.close()
        torch.cuda.empty_cache()  # what this process keeps, the others on its GPU lack

    def step(self) -> dict[str, Any]:
        # Ray flattens dictionaries, but not what is in a list.
        if "probe" in self._assignment:
            return {"probe": [self._try_out()]}
        self._watch.training = None if self._unclaimed else self._own
        outcome = self._train()
        self._watch.training = None
        report = Report(self._assignment["trial"], self._attempt, *outcome, notes=self._checkpoints.passed_over)
        return {"report": [asdict(report)]}

    def _try_out(self) -> dict[str, float | str]:
        """What came of its share of the probe; nothing more once that is told, while it waits for the others."""
        runs, self._untried = self._untried, {}
        if not runs:
            time.sleep(WAIT_SECONDS)
        return measure(runs, device())

    def _train(self) -> tuple[list[dict[str, Any]], str, dict[str, str] | None]:
        """Rows, status and error up to the next hand-over: a rung, the end, or when enough time has passed."""
        rows: list[dict[str, Any]] = []
        started = time.monotonic()
        try:
            if self._unclaimed:
                raise self._unclaimed
            run = Run.model_validate(self._assignment["run"])
            if self._rows is None:
                self._rows = run.rows(device(), self._checkpoints, stop_poll(Path(self._assignment["stop_file"])))
            for row in self._rows:
                if divergence := _divergence(row, run):
                    return rows, "diverged", divergence
                rows.append(row)
                if row["epoch"] == run.training.epochs:
                    return rows, "running", None
                if row["epoch"] in self._assignment["rungs"] or time.monotonic() - started > REPORT_SECONDS:
                    return rows, "running", None
            return rows, "interrupted", None
        except SaveError as full:  # the disk's fault, and not the trial's, which goes on once there is room
            return rows, "interrupted", failure_of(full, self._assignment["run"]["training"]["batch_size"])
        except Exception as error:
            return rows, "failed", failure_of(error, self._assignment["run"]["training"]["batch_size"])


def stop_poll(stop_file: Path) -> Callable[[], bool]:
    """Whether the stop file exists, looked up now and then."""
    looked, stop = -math.inf, False

    def should_stop() -> bool:
        nonlocal looked, stop
        if not stop and time.monotonic() - looked > STOP_FILE_SECONDS:
            looked, stop = time.monotonic(), stop_file.exists()
        return stop

    return should_stop


def _claim(folder: Path, after: int) -> tuple[int, SaveError | None]:
    """Takes the next attempt at a trial for this worker alone.

    The campaign's own folder is never made here: a machine that does not have it would train where nobody looks.

    Args:
        folder: of the trial.
        after: the attempt that the ledger knows; what comes from it or from an earlier one may be ignored.
    Returns:
        Its number, and what kept its folder from being made.
    """
    attempt = after + 1
    try:
        for above in (folder.parent, folder):
            above.mkdir(exist_ok=True)
        while True:
            try:
                _attempt_folder(folder, attempt).mkdir()
                return attempt, None
            except FileExistsError:
                attempt += 1
    except OSError as error:
        return attempt, SaveError(error.errno, f"{error.strerror}, on {socket.gethostname()}", error.filename)


def _attempt_folder(folder: Path, attempt: int) -> Path:
    return folder / f"attempt-{attempt}"


def _divergence(row: dict[str, Any], run: Run) -> dict[str, str] | None:
    """What is wrong with a row that says nothing; None for a sound one. No sampler may learn from the former."""
    faults = [f"{name} is {value!r}" for name, value in row.items() if not _is_finite(value)]
    faults += [f"{name} is missing" for name in _expected(run, row["epoch"]) if name not in row]
    return {"class": "Diverged", "message": f"{', '.join(faults)} after epoch {row['epoch']}"} if faults else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _expected(run: Run, epoch: int) -> list[str]:
    """The columns that rungs, the choice of the best and the report cannot do without."""
    validated = run.fit_on == "train" and run.training.evaluates(epoch)
    tested = run.measure_on == "test" and epoch == run.training.epochs
    parts = ["val"] * validated + ["test"] * tested
    return [f"{part}_{metric}" for part in parts for metric in ("error", "nll")]
