"""MLflow's limits, met on our side: what it would refuse never reaches it, and nothing is stuck behind it."""

import pytest
from mlflow import MlflowClient

from tests.tracking.literal import opened, plan, result, suggested, write
from tests.tracking.shown import runs_of, snapshot
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import sync
from tuner.tracking.view import CampaignView

OWN = "tests.campaign.own_method.Shrink"


@pytest.fixture
def written(tmp_path):
    """Writes a campaign of one method and gives its folder."""

    def write_it(*records: dict, **changes) -> Folder:
        document = plan(tmp_path / "runs", **{"methods": ["none"], **changes})
        folder = Folder(document.folder)
        write(folder, [opened(document), *records])
        return folder

    return write_it


def trial(params: dict, method: str = "none") -> dict:
    return {**suggested(f"{method}-000", method, 0, 100), "params": params}


def ended(trial: str, **how) -> dict:
    return {"kind": "ended", "trial": trial, "status": "completed", **how}


def test_long_texts_are_cut(written, store):
    failure = {"class": "ValueError", "message": "y" * 9000}
    folder = written(
        trial({"lr": 0.1, "text": "x" * 7000}),
        result("none-000", 1),
        ended("none-000", status="failed", error=failure),
    )
    sync(folder, store)
    shown = snapshot(store)["none-000"]
    assert shown["params"] == {"lr": "0.1", "text": "x" * 6000}
    assert len(shown["tags"]["error"]) == 8000
    sync(folder, store)
    assert snapshot(store)["none-000"] == shown


def test_a_method_by_its_dotted_name_and_parameters_that_are_no_numbers(written, store):
    params = {"layers": [0, 1], "größe": "für µ 混ぜる", "nothing": None, "flag": True, "empty": ""}
    folder = written(trial(params, OWN), methods=[OWN], spaces={OWN: {"amount": {"low": 0.1, "high": 0.5}}})
    sync(folder, store)
    shown = snapshot(store)
    assert set(shown) == {OWN, f"{OWN}-000"}
    assert shown[f"{OWN}-000"]["tags"]["mlflow.parentRunId"] == OWN
    assert shown[f"{OWN}-000"]["params"] == {
        "layers": "[0, 1]",
        "größe": "für µ 混ぜる",
        "nothing": "null",
        "flag": "true",
        "empty": "",
    }


def test_columns_with_other_signs_and_values_that_are_no_metrics(written, store):
    columns = {"top5@1(%)": 0.5, "a//b/../c": 0.25, "größe": 2.0, "flag": True, "note": "text", "nothing": None}
    sync(written(trial({"lr": 0.1}), result("none-000", 1, **columns)), store)
    metrics = snapshot(store)["none-000"]["metrics"]
    own = {name: points[0][1] for name, points in metrics.items() if name not in result("none-000", 1)["row"]}
    assert own == {"top5_1___": 0.5, "a__b_.._c": 0.25, "größe": 2.0}


def test_numbers_that_are_not_finite_stay_away(tmp_path):
    document = plan(tmp_path, methods=["none"])
    view = CampaignView(Folder(document.folder))
    odd = result("none-000", 1, a=float("nan"), b=float("inf"), c=-float("inf"))  # the ledger itself refuses such a row
    for record in [opened(document), trial({"lr": 0.1}), odd]:
        view.apply({**record, "time": 1.0})
    assert {"a", "b", "c"}.isdisjoint(view.run("none-000").steps[0].metrics)


@pytest.fixture
def sizes(monkeypatch) -> list[tuple[int, int, int]]:
    """Metrics, parameters and tags of each request. MLflow's own client would split them, and send the tags first."""
    sent, log_batch = [], MlflowClient.log_batch

    def log_and_count(self, run_id, metrics, params, tags):
        sent.append((len(metrics), len(params), len(tags)))
        return log_batch(self, run_id, metrics, params, tags)

    monkeypatch.setattr(MlflowClient, "log_batch", log_and_count)
    return sent


def fit(sizes: list[tuple[int, int, int]]) -> bool:
    return all(sum(size) <= 1000 and max(size[1:]) <= 100 for size in sizes)


def test_more_parameters_than_mlflow_takes_at_once(written, store, sizes):
    params = {f"depth_{number}": number for number in range(250)}
    sync(written(trial(params), *(result("none-000", epoch) for epoch in range(1, 401))), store)
    assert fit(sizes)
    shown = snapshot(store)["none-000"]
    assert shown["params"] == {name: str(value) for name, value in params.items()}
    assert [step for step, _, _ in shown["metrics"]["val_nll"]] == list(range(1, 401))


@pytest.mark.parametrize("epochs", [1, 3])
def test_more_metrics_in_a_row_than_mlflow_takes_at_once(written, store, sizes, epochs):
    columns = {f"class_{number:04d}_error": number / 1500 for number in range(1500)}
    rows = [result("none-000", epoch, **columns) for epoch in range(1, epochs + 1)]
    sync(written(trial({"lr": 0.1}), *rows), store)
    assert fit(sizes)
    run = next(run for run in runs_of(store)[1] if run.info.run_name == "none-000")
    assert run.data.metrics.items() >= columns.items()
    assert run.data.tags["regtune.steps"] == str(epochs)
