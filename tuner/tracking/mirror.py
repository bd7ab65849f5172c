"""The mirror: follows the ledger and brings MLflow to what it says; training neither waits for it nor fails with it.

MLflow may be slow, down or away for days: the ledger keeps everything, and what MLflow lacks is added when it answers
again. Nothing is written twice, however often and in whatever pieces the same ledger is mirrored.
"""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, NamedTuple

from tuner.campaign import ledger
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.tracking.address import artifact_location, shown_uri, tracking_uri
from tuner.tracking.problem import TrackingError, problem
from tuner.tracking.view import CampaignView

PERIOD = 5.0
"""Seconds between two looks at the ledger: each look costs every running trial a batch."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the next try after a first failure, and after many: it doubles in between."""

HANDOVER_SECONDS = 0.0005
"""How long the mirror computes on when the driver's thread wants to: Python's own 5 ms, at each of the dozen moments of
a trial when that thread comes back from Ray or the disk, would be most of what a trial costs the driver."""

REQUEST_SECONDS = 10
"""How long the thread waits for one answer. By hand one may wait as long as MLflow itself would, two minutes."""

_SETTINGS = {
    # A request that MLflow itself repeats could create a run twice; the mirror's own next try looks first.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Mirror:
    """Mirrors a campaign while it runs, in a thread of its own.

    Args:
        folder: the campaign's.
        uri: MLflow's tracking URI.
    """

    def __init__(self, folder: Folder, uri: str):
        self.error: str | None = None
        """The last problem, or None while all is well."""
        self._copy = _Copy(folder, uri, {**_SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_SECONDS)})
        self._ending = threading.Event()
        self._given_up = threading.Event()
        self._drained = False
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)

    @property
    def page(self) -> str | None:
        """The campaign's runs on an MLflow server, behind the server's address; None until MLflow answered once."""
        return self._copy.page

    def prepare(self) -> None:
        """Imports MLflow, which takes seconds. Call it where the processor waits for other things."""
        with suppress(Exception):  # what is wrong shows again when it is used
            self._copy.import_mlflow()

    def start(self) -> None:
        """Returns at once, and shows from now on what the ledger says. A mirror that was started goes on."""
        if self._thread.ident is None:
            self._thread.start()

    def drain(self, seconds: float = 25.0) -> bool:
        """Waits until MLflow has all that is in the ledger now, and ends the thread; whether it got there in time.

        Call it behind the last record. Runs whose trials are open are shown as killed until the campaign goes on.
        MLflow may keep a run from its exit for 30 s: the rest of the exit takes some of them.
        """
        self._ending.set()
        self._thread.join(seconds)
        self._given_up.set()
        if not self._drained and self.error is None:
            self.error = f"MLflow had not taken everything after {seconds:g} s."
        return self._drained

    def _run(self) -> None:
        before = sys.getswitchinterval()
        sys.setswitchinterval(HANDOVER_SECONDS)
        try:
            self._follow()
        finally:
            sys.setswitchinterval(before)

    def _rest(self, seconds: float) -> None:
        self._ending.wait(seconds)
        if self._given_up.is_set():
            raise _GivenUp

    def _follow(self) -> None:
        pause = FIRST_PAUSE
        with closing(self._copy):
            while not self._given_up.is_set():
                ending = self._ending.is_set()
                try:
                    # Half of the time, at most, while trials run: of a large campaign the rest follows when it ends.
                    self._copy.catch_up(rest=self._rest)
                    if ending:
                        self._copy.close_open_runs()
                        self.error, self._drained = None, True
                        return
                except _GivenUp:
                    return
                except Exception as error:
                    # Whatever it is, training goes on, and so does the mirror as soon as it can.
                    self._copy.disconnect()
                    self.error = problem(error)
                    (self._given_up if ending else self._ending).wait(FIRST_PAUSE if ending else pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    self.error = None
                    pause = FIRST_PAUSE
                    self._ending.wait(PERIOD)


class _GivenUp(Exception):
    """Nobody waits for the mirror any more: what it has not shown yet is left to the next one."""


class Synced(NamedTuple):
    """What `sync` did: how many records are in which MLflow, and on which page behind its server's address."""

    records: int
    uri: str
    page: str


def sync(folder: Folder, uri: str | None = None) -> Synced:
    """Mirrors a campaign's ledger now, to its own MLflow or to the one at `uri`.

    Raises:
        LedgerError: the ledger is empty or damaged.
        TrackingError: another process mirrors it, or MLflow does not answer or refuses. What MLflow took stays there.
    """
    state = State.of(record for record, _ in ledger.read(folder.ledger))
    if state.document is None:
        raise ledger.LedgerError(f"{folder.ledger} is empty: the campaign was never begun.")
    uri = uri or tracking_uri(state.document, folder)
    with closing(_Copy(folder, uri, _SETTINGS)) as copy:
        try:
            copy.catch_up()
            copy.close_open_runs()
        except (ledger.LedgerError, TrackingError):
            raise
        except Exception as error:  # whatever a server or a network may answer
            raise TrackingError(
                f"MLflow at {shown_uri(uri)} did not take all of it: {problem(error)}\n"
                "What it took stays there; the same command adds the rest."
            ) from None  # it may quote a password
        return Synced(copy.records, uri, copy.page)


class _Copy:
    """What MLflow shows of one ledger. Each call may raise anything; then `disconnect`, and call again.

    `settings` are MLflow's own, by their names in the environment; what is set there already stays.
    """

    def __init__(self, folder: Folder, uri: str, settings: dict[str, str]):
        self.records = 0
        self.page: str | None = None
        self._folder = folder
        self._uri = uri
        self._settings = settings
        self._view = CampaignView(folder)
        self._offset = 0
        self._changed: dict[str, None] = {}  # names of runs, in the order of their changes
        self._store = None
        self._failed = False
        self._lock = None

    def catch_up(self, rest: Callable[[float], object] = lambda seconds: None) -> None:
        """Brings MLflow to the end of the ledger. Behind each run it calls `rest` with the seconds which that took."""
        for record, offset in ledger.read(self._folder.ledger, self._offset):
            self._changed |= dict.fromkeys(self._view.apply(record))
            self._offset = offset
            self.records += 1
        if not self._view.opened:
            return
        if self._store is None:
            self._connect()
        for name in list(self._changed):
            began = time.monotonic()
            self._store.show(self._view.run(name))
            del self._changed[name]
            rest(time.monotonic() - began)
        for method in self._view.studies:
            for path, artifact in self._artifacts(method):
                self._store.show_file(method, path, artifact)

    def close_open_runs(self) -> None:
        """Shows as killed what nobody carries on. They run again once the ledger says more of them."""
        if self._failed:
            # A run whose creation timed out may have appeared since we looked: look again, now that all is quiet.
            self._failed, self._store = False, None
            self.catch_up()
        for name in self._view.runs:
            run = self._view.run(name)
            if run.status == "RUNNING":
                self._store.show(run.interrupted())

    def disconnect(self) -> None:
        """Forgets what MLflow shows, so that the next call looks."""
        self._failed, self._store = True, None

    def close(self) -> None:
        """Lets other processes mirror the campaign."""
        if self._lock is not None:
            self._lock.close()

    def import_mlflow(self) -> ModuleType:
        """The module that speaks to MLflow: it takes seconds, and comes behind settings that MLflow reads meanwhile."""
        for name, value in self._settings.items():
            os.environ.setdefault(name, value)
        from tuner.tracking import store

        return store

    def _connect(self) -> None:
        if self._lock is None:
            self._lock = _lock(self._folder)
        self._store = self.import_mlflow().Store(self._uri, self._view, artifact_location(self._uri, self._folder))
        self._changed = dict.fromkeys(self._view.runs)
        # Without the last part MLflow opens on traces of language models, and hides the runs.
        self.page = f"/#/experiments/{self._store.experiment}/runs?workflowType=machine_learning"

    def _artifacts(self, method: str) -> list[tuple[Path, str]]:
        return [
            (self._folder.document, "campaign.yaml"),
            (self._folder.best / f"{method}.yaml", "best_config.yaml"),
            (self._folder.report / "index.html", "report/index.html"),
        ]


def _lock(folder: Folder) -> IO[str]:
    """Held by whoever mirrors the campaign: two at once would both create what both find missing."""
    file = (folder.root / "mirror.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise TrackingError(
            f"{folder.root} is being mirrored to MLflow by another process, most likely by the run of this campaign. "
            "Wait for its end, and sync then if it says so."
        ) from None
    return file
