"""The one place that speaks to MLflow. The mirror imports it late, behind MLflow's own settings."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from mlflow.utils.validation import (
    MAX_DATASET_DIGEST_SIZE,
    MAX_ENTITY_KEY_LENGTH,
    MAX_EXPERIMENT_TAG_VAL_LENGTH,
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
)

from tuner.tracking import schema
from tuner.tracking.address import sqlite_file
from tuner.tracking.problem import TrackingError
from tuner.tracking.view import CampaignView, RunView, Step

_RUN = "regtune.run"
_STEPS = "regtune.steps"

_METRICS_PER_BATCH = 800
"""MLflow takes 1000 things in a batch: room for 100 parameters and 100 tags beside the metrics."""

_RUN_NAME_LENGTH = 250
"""The width of MLflow's own column, which some databases insist on."""


@dataclass
class _Shown:
    """What MLflow shows of a run already. `complete`: its parameters and its data set are known to be there."""

    id: str
    status: str
    tags: dict[str, str]
    complete: bool = False

    @property
    def steps(self) -> int:
        """The last step whose metrics are all there."""
        return int(self.tags.get(_STEPS, 0))


@dataclass(frozen=True)
class _Batch:
    """What is logged at once. `steps`: the last step whose metrics are all there behind it."""

    metrics: list[Metric]
    params: list[Param]
    steps: int


class Store:
    """An experiment that is brought, run by run, to what a `CampaignView` says; what is there already stays as it is.

    Args:
        uri: MLflow's tracking URI.
        view: the campaign; it has been opened.
        artifact_location: where a new experiment keeps its files; None leaves it to the server.
    Raises:
        TrackingError: the experiment was deleted in MLflow.
        mlflow.exceptions.MlflowException: everything else, a server that does not answer included.
    """

    def __init__(self, uri: str, view: CampaignView, artifact_location: str | None):
        if file := sqlite_file(uri):
            schema.make(file)
        self._client = MlflowClient(tracking_uri=uri)
        self._identity = view.identity
        self._dataset = _dataset_input(*view.dataset)
        self.experiment = self._open_experiment(view, artifact_location)
        self._runs = self._find_runs()
        self._files: dict[tuple[str, str], int] = {}

    def show(self, view: RunView) -> None:
        """Brings one run to this view. The status comes last: a run that has ended lacks nothing."""
        shown = self._runs.get(view.name) or self._create(view)
        news = [step for step in view.steps if step.number > shown.steps]
        # A run that has ended may still get a tag: another setting has become the best.
        if view.status == shown.status and not news and _cut(view.tags).items() <= shown.tags.items():
            return
        params = []
        if not shown.complete:
            self._client.log_inputs(shown.id, [self._dataset])
            params = [Param(_key(name), value[:MAX_PARAM_VAL_LENGTH]) for name, value in view.params.items()]
        for batch in _batches(news, params, shown.steps):
            # MLflow stores a batch's tags behind its metrics, so that the last step is never ahead of them.
            self._log(shown, batch, {**_cut(view.tags), _STEPS: str(batch.steps)})
        shown.complete = True
        if view.status != shown.status:
            self._set_status(shown, view)

    def show_file(self, run: str, path: Path, artifact: str) -> None:
        """Uploads a text file as an artifact of this run, if it is there and was not uploaded as it is now."""
        if not path.is_file():
            return
        changed = path.stat().st_mtime_ns
        if self._files.get((run, artifact)) != changed:
            self._client.log_text(self._runs[run].id, path.read_text(encoding="utf-8"), artifact)
            self._files[run, artifact] = changed

    def _open_experiment(self, view: CampaignView, artifact_location: str | None) -> str:
        experiment = self._client.get_experiment_by_name(view.name)
        if experiment is None:
            return self._client.create_experiment(
                view.name, artifact_location, {MLFLOW_RUN_NOTE: view.note[:MAX_EXPERIMENT_TAG_VAL_LENGTH]}
            )
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f'The MLflow experiment "{view.name}" was deleted but not yet removed, so nothing can be added to it. '
                f"Restore it (mlflow experiments restore --experiment-id {experiment.experiment_id}), "
                "or remove it for good (mlflow gc)."
            )
        return experiment.experiment_id

    def _find_runs(self) -> dict[str, _Shown]:
        """This campaign's runs by name. Of runs with one name the fullest stays.

        A request to create one can time out here and yet be carried out later, behind our next look.
        """
        runs = [run for run in self._search() if _RUN in run.data.tags]
        parents = {run.data.tags.get(MLFLOW_PARENT_RUN_ID) for run in runs}
        found: dict[str, _Shown] = {}
        for run in sorted(
            runs, key=lambda run: (run.info.run_id in parents, int(run.data.tags.get(_STEPS, 0))), reverse=True
        ):
            name = run.data.tags[_RUN]
            if name in found:
                self._client.delete_run(run.info.run_id)
            else:
                found[name] = _Shown(run.info.run_id, run.info.status, dict(run.data.tags))
        return found

    def _search(self) -> Iterator[Run]:
        wanted = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in self._identity.items())
        token = None
        while True:
            page = self._client.search_runs([self.experiment], filter_string=wanted, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, view: RunView) -> _Shown:
        tags = {**self._identity, _RUN: view.name, **_cut(view.tags)}
        if view.parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._runs[view.parent].id
        run = self._client.create_run(self.experiment, view.start, tags, view.name[:_RUN_NAME_LENGTH])
        self._runs[view.name] = _Shown(run.info.run_id, run.info.status, tags)
        return self._runs[view.name]

    def _log(self, shown: _Shown, batch: _Batch, tags: dict[str, str]) -> None:
        changed = {name: value for name, value in tags.items() if shown.tags.get(name) != value}
        new_tags = [RunTag(name, value) for name, value in changed.items()]
        self._client.log_batch(shown.id, batch.metrics, batch.params, new_tags)
        shown.tags |= changed

    def _set_status(self, shown: _Shown, view: RunView) -> None:
        if view.status == "RUNNING":
            self._client.update_run(shown.id, status=view.status)
        else:
            self._client.set_terminated(shown.id, view.status, view.end)
        shown.status = view.status


def _dataset_input(name: str, digest: str, profile: dict) -> DatasetInput:
    dataset = MetaDataset(CodeDatasetSource(tags={"dataset": name}), name=name, digest=digest[:MAX_DATASET_DIGEST_SIZE])
    return DatasetInput(
        Dataset(**dataset.to_dict(), profile=json.dumps(profile)), [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
    )


def _batches(steps: list[Step], params: list[Param], done: int) -> Iterator[_Batch]:
    """What is to be logged behind step `done`, in parts that MLflow takes; one empty part where there is nothing."""
    metrics = [
        Metric(_key(name), value, step.time, step.number) for step in steps for name, value in step.metrics.items()
    ]
    last = steps[-1].number if steps else done
    parts = zip_longest(
        _parts(metrics, _METRICS_PER_BATCH) or [[]], _parts(params, MAX_PARAMS_TAGS_PER_BATCH), fillvalue=[]
    )
    for number, (some_metrics, some_params) in enumerate(parts, start=1):
        left = metrics[number * _METRICS_PER_BATCH :]
        yield _Batch(some_metrics, some_params, left[0].step - 1 if left else last)


def _parts(things: list, size: int) -> list[list]:
    return [things[start : start + size] for start in range(0, len(things), size)]


def _key(name: str) -> str:
    """A name that MLflow takes. It takes "/" too, but not wherever it stands."""
    return re.sub(r"[^\w\-. :]", "_", name)[:MAX_ENTITY_KEY_LENGTH]


def _cut(tags: dict[str, str]) -> dict[str, str]:
    return {name: value[:MAX_TAG_VAL_LENGTH] for name, value in tags.items()}
