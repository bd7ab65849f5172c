"""What MLflow shows of a campaign, and stores to show it in."""

import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from mlflow import MlflowClient

from tuner.tracking import schema


@cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        schema.make(file)
        return file.read_bytes()


def new_store(file: Path) -> str:
    """The URI of a fresh SQLite store: a copy, since making the tables takes seconds."""
    file.write_bytes(_empty_store())
    return f"sqlite:///{file}"


def runs_of(uri: str, name: str = "small"):
    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


def statuses(uri: str, name: str = "small") -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in runs_of(uri, name)[1]}


def snapshot(uri: str, name: str = "small") -> dict:
    """All that MLflow shows, run ids apart; a name that two runs share fails."""
    client, runs = runs_of(uri, name)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(runs)
    shown = {}
    for run in runs:
        tags = dict(run.data.tags)
        tags["mlflow.parentRunId"] = names.get(tags.get("mlflow.parentRunId"))
        histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        shown[run.info.run_name] = {
            "status": (run.info.status, run.info.start_time, run.info.end_time),
            "tags": tags,
            "params": run.data.params,
            "metrics": {key: sorted((m.step, m.value, m.timestamp) for m in found) for key, found in histories.items()},
            "inputs": [(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs],
        }
    return shown


def wait_until(condition: Callable[[], object]) -> None:
    """Returns once it holds; fails if that takes long."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
