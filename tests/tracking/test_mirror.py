"""The mirror against a real MLflow: SQLite stores, and a server that comes late."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import pytest
from mlflow import MlflowClient

from tuner.campaign import ledger, reading
from tuner.campaign.document import Document
from tuner.campaign.folder import Folder
from tuner.tracking import mirror
from tuner.tracking.address import shown_uri, tracking_uri, ui_command
from tuner.tracking.mirror import Mirror, MirrorError, sync
from tuner.tracking.store import StoreError
from tuner.tracking.view import CampaignView

REPOSITORY = Path(__file__).parents[2]
EPOCHS, SEEDS = 8, (0, 1)
DIGEST = "0123456789abcdef" * 4


def plan(storage: Path, **changes) -> Document:
    content = {
        "name": "small",
        "dataset": {"name": "digits"},
        "split": {"validation_per_class": 20, "seed": 0},
        "model": {"name": "preactresnet18", "width": 16},
        "methods": ["none", "cutmix"],
        "training": {
            "epochs": EPOCHS,
            "batch_size": 50,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": {"name": "constant"},
        },
        "search": {"trials": 3},
        "final": {"seeds": list(SEEDS)},
        "storage": str(storage),
    }
    return reading.check({**content, **changes}, "small.yaml")


def opened(plan: Document) -> dict:
    facts = {"train_images": 200, "validation_images": 200, "classes": 10, "shape": [1, 8, 8], "data_digest": DIGEST}
    facts |= {"train_digest": "t" * 64, "validation_digest": "v" * 64}
    return {
        "kind": "opened",
        "format": ledger.FORMAT,
        "document": plan.as_yaml(),
        "facts": facts,
        "versions": {"torch": "2.15.0"},
        "commit": "a" * 40 + "+",
    }


def suggested(trial: str, method: str, number: int, seed: int, kind: str = "search") -> dict:
    params = {"lr": 0.1 / (number + 1), "weight_decay": 5e-4}
    if method == "cutmix":
        params |= {"alpha": 1.0, "cutmix_prob": 0.5, "layers": [0, 1, 2]}
    return {
        "kind": "suggested",
        "trial": trial,
        "method": method,
        "trial_kind": kind,
        "number": number,
        "seed": seed,
        "params": params,
        "attributes": {},
    }


def result(trial: str, epoch: int, decision: str = "continue", error: float = 0.1, **columns) -> dict:
    row = {
        "epoch": epoch,
        "lr": 0.1,
        "train_loss": 2.0 / epoch,
        "val_error": error / epoch,
        "val_nll": error,
        "seconds": 0.5,
    }
    return {"kind": "result", "trial": trial, "row": {**row, "selected": None, **columns}, "decision": decision}


def search_trial(method: str, number: int, last: int, status: str, error: float) -> list[dict]:
    trial = f"{method}-{number:03d}"
    decision = {"completed": "complete", "stopped": "stop"}.get(status, "continue")
    records = [suggested(trial, method, number, 100 + number), {"kind": "attempt", "trial": trial, "attempt": 1}]
    records += [result(trial, epoch, decision if epoch == last else "continue", error) for epoch in range(1, last + 1)]
    failure = {"error": {"class": "Diverged", "message": "the loss is not finite"}} if status == "diverged" else {}
    return [*records, {"kind": "ended", "trial": trial, "status": status, **failure}]


def final_trial(method: str, seed: int, error: float) -> list[dict]:
    trial = f"{method}-final-000-seed{seed}"
    records = [suggested(trial, method, 0, seed, "final")]
    records += [result(trial, epoch) for epoch in range(1, EPOCHS)]
    test = {"test_error": error, "test_nll": 3 * error, "test_ece": error / 2}
    return [
        *records,
        result(trial, EPOCHS, "complete", **test),
        {"kind": "ended", "trial": trial, "status": "completed"},
    ]


def whole(plan: Document) -> list[dict]:
    """A campaign from its first record to its last: two studies, every way to end but an audit's."""
    records = [opened(plan)]
    for method, error in (("none", 0.2), ("cutmix", 0.1)):
        records += search_trial(method, 0, EPOCHS, "completed", error)
        records += search_trial(method, 1, 4, "stopped", 3 * error)
        records += search_trial(method, 2, 2, "diverged", 9 * error)
    for method, error in (("none", 0.04), ("cutmix", 0.02)):
        for seed in SEEDS:
            records += final_trial(method, seed, error + 0.001 * seed)
    return records


def write(folder: Folder, records: list[dict]) -> None:
    with closing(ledger.Ledger(folder.ledger)) as book:
        for record in records:
            book.append(record)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """MLflow's schema, made once: it takes seconds."""
    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(tmp_path, empty_store):
    def make(name: str = "mlflow") -> str:
        return f"sqlite:///{shutil.copy(empty_store, tmp_path / f'{name}.db')}"

    return make


@pytest.fixture
def campaign(tmp_path) -> tuple[Folder, list[dict]]:
    planned = plan(tmp_path / "runs")
    return Folder(planned.folder), whole(planned)


@pytest.fixture
def recorded(campaign) -> Folder:
    folder, records = campaign
    write(folder, records)
    return folder


def runs_of(uri: str, name: str = "small"):
    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


def snapshot(uri: str) -> dict:
    """All that MLflow shows, run ids apart; a name that two runs share fails."""
    client, runs = runs_of(uri)
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


def statuses(uri: str) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in runs_of(uri)[1]}


class Mirrored(NamedTuple):
    """A whole campaign, mirrored once, for the tests that only look."""

    folder: Folder
    uri: str
    shown: dict


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory, empty_store) -> Mirrored:
    storage = tmp_path_factory.mktemp("mirrored")
    planned = plan(storage)
    folder, uri = Folder(planned.folder), f"sqlite:///{shutil.copy(empty_store, storage)}"
    write(folder, whole(planned))
    sync(folder, uri)
    return Mirrored(folder, uri, snapshot(uri))


def test_one_parent_a_method_and_one_child_a_trial(mirrored):
    shown = mirrored.shown
    parents = {name: run["tags"]["mlflow.parentRunId"] for name, run in shown.items()}
    assert parents == {
        "none": None,
        "cutmix": None,
        **{
            f"{m}-{t}": m
            for m in ("none", "cutmix")
            for t in ("000", "001", "002", "final-000-seed0", "final-000-seed1")
        },
    }
    final, failed = shown["cutmix-final-000-seed1"]["tags"], shown["none-002"]["tags"]
    assert final.items() >= {"kind": "final", "method": "cutmix", "seed": "1", "status": "completed"}.items()
    assert (
        failed.items() >= {"kind": "search", "status": "diverged", "error": "Diverged: the loss is not finite"}.items()
    )
    assert shown["cutmix"]["tags"]["kind"] == "study"
    assert "uv run tune.py rerun" in shown["cutmix"]["tags"]["mlflow.note.content"]
    assert shown["cutmix"]["tags"]["mlflow.source.git.commit"] == "a" * 40


def test_statuses_and_times_are_the_ledgers(mirrored):
    shown = mirrored.shown
    assert {name for name, run in shown.items() if run["status"][0] == "FAILED"} == {"none-002", "cutmix-002"}
    assert {run["status"][0] for run in shown.values()} == {"FAILED", "FINISHED"}
    times = {
        (record["trial"], record["kind"]): int(record["time"] * 1000)
        for record, _ in ledger.read(mirrored.folder.ledger)
        if record["kind"] in ("suggested", "ended")
    }
    for (trial, kind), milliseconds in times.items():
        assert shown[trial]["status"][1 if kind == "suggested" else 2] == milliseconds


def test_curves_are_the_ledgers_rows(mirrored):
    expected: dict[tuple[str, str], list] = {}
    for record, _ in ledger.read(mirrored.folder.ledger):
        if record["kind"] == "result":
            row = dict(record["row"])
            epoch = row.pop("epoch")
            assert row.pop("selected") is None
            for column, value in row.items():
                point = (epoch, value, int(record["time"] * 1000))
                expected.setdefault((record["trial"], column), []).append(point)
    shown = {
        (name, column): points
        for name, run in mirrored.shown.items()
        if name not in ("none", "cutmix")
        for column, points in run["metrics"].items()
    }
    assert shown == expected


def test_parent_shows_what_was_found_and_spent(mirrored):
    metrics = mirrored.shown["cutmix"]["metrics"]
    last = {name: points[-1][1] for name, points in metrics.items()}
    errors = [0.02, 0.021]
    assert last["test_error_mean"] == fmean(errors)
    assert last["test_error_std"] == stdev(errors)
    assert last["test_nll_mean"] == pytest.approx(3 * fmean(errors))
    assert last["test_ece_std"] == pytest.approx(stdev(errors) / 2)
    assert last["test_error_n"] == last["test_ece_n"] == 2
    assert last["best_val_error"] == 0.1 / EPOCHS
    assert last["trials"] == 3
    assert last["epochs"] == EPOCHS + 4 + 2 + 2 * EPOCHS
    assert [step for step, _, _ in metrics["trials"]] == [1, 2, 3, 4, 5]


def test_params_have_the_same_names_on_all_children(mirrored):
    _, runs = runs_of(mirrored.uri)
    for method, names in (
        ("none", {"lr", "weight_decay"}),
        ("cutmix", {"lr", "weight_decay", "alpha", "cutmix_prob", "layers"}),
    ):
        children = [run for run in runs if run.data.tags["method"] == method and run.data.tags["kind"] != "study"]
        assert all(set(run.data.params) == names for run in children)
        assert all(float(run.data.params["lr"]) > 0 for run in children)
    assert next(r for r in runs if r.info.run_name == "cutmix-001").data.params["layers"] == "[0, 1, 2]"


def test_data_set_is_an_input_of_every_run(mirrored):
    assert {tuple(run["inputs"]) for run in mirrored.shown.values()} == {(("digits", DIGEST[:36]),)}
    run = runs_of(mirrored.uri)[1][0]
    assert {(tag.key, tag.value) for tag in run.inputs.dataset_inputs[0].tags} == {("mlflow.data.context", "training")}


def test_artifacts_lie_in_the_campaigns_storage(recorded, new_store):
    uri = new_store()
    recorded.document.write_text("name: small\n")
    sync(recorded, uri)
    recorded.best.mkdir()
    (recorded.best / "cutmix.yaml").write_text("name: small-cutmix  # µ\n", encoding="utf-8")
    recorded.report.mkdir()
    (recorded.report / "index.html").write_text("<p>who won</p>")
    sync(recorded, uri)
    client, runs = runs_of(uri)
    study = next(run for run in runs if run.info.run_name == "cutmix")
    place = recorded.root.parent / "mlartifacts" / "small" / study.info.run_id / "artifacts"
    assert (place / "campaign.yaml").read_text() == "name: small\n"
    assert (place / "best_config.yaml").read_text(encoding="utf-8") == "name: small-cutmix  # µ\n"
    assert (place / "report/index.html").read_text() == "<p>who won</p>"
    assert {file.path for file in client.list_artifacts(study.info.run_id)} == {
        "campaign.yaml",
        "best_config.yaml",
        "report",
    }


def test_mirrored_twice_is_mirrored_once(recorded, new_store):
    uri = new_store()
    records = sync(recorded, uri)
    once = snapshot(uri)
    assert sync(recorded, uri) == records == sum(1 for _ in ledger.read(recorded.ledger))
    assert snapshot(uri) == once


def test_mirrored_in_pieces_is_mirrored_in_one_go(recorded, new_store):
    whole_uri, pieces_uri = new_store("whole"), new_store("pieces")
    sync(recorded, whole_uri)
    ends = [offset for _, offset in ledger.read(recorded.ledger)]
    content = recorded.ledger.read_bytes()
    for end in [*ends[::3], ends[-1]]:
        recorded.ledger.write_bytes(content[:end])
        sync(recorded, pieces_uri)
    assert snapshot(pieces_uri) == snapshot(whole_uri)


FAULTS = {
    "a run is created": "INSERT ON runs WHEN NEW.name = 'cutmix-001'",
    "a study is created": "INSERT ON runs WHEN NEW.name = 'cutmix'",
    "its data set is logged": "INSERT ON inputs WHEN (SELECT count(*) FROM inputs) = 6",
    "its parameters are logged": "INSERT ON params WHEN NEW.key = 'alpha'",
    "its metrics are logged": "INSERT ON metrics WHEN NEW.key = 'val_nll' AND NEW.step = 3",
    "its end is logged": "UPDATE ON runs WHEN NEW.name = 'cutmix-001' AND NEW.status = 'FINISHED'",
}


@contextmanager
def refusing(uri: str, change: str):
    """The database refuses this change, as a full disk would, and takes it afterwards."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute(f"CREATE TRIGGER refuse BEFORE {change} BEGIN SELECT RAISE(ABORT, 'no room'); END")
        database.commit()
        yield
        database.execute("DROP TRIGGER refuse")
        database.commit()


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS.keys())
def test_a_mirror_that_dies_while(change, recorded, new_store):
    whole_uri, uri = new_store("whole"), new_store("cut")
    sync(recorded, whole_uri)
    with refusing(uri, change), pytest.raises(Exception, match="no room"):
        sync(recorded, uri)
    assert statuses(uri) != statuses(whole_uri)
    sync(recorded, uri)
    assert snapshot(uri) == snapshot(whole_uri)


def test_long_trials_go_in_batches_and_the_noted_step_is_never_ahead(tmp_path, new_store):
    planned = plan(
        tmp_path / "runs", methods=["none"], training={**plan(tmp_path).training.model_dump(), "epochs": 400}
    )
    folder = Folder(planned.folder)
    write(
        folder,
        [opened(planned), suggested("none-000", "none", 0, 100), *(result("none-000", e) for e in range(1, 401))],
    )
    uri = new_store()
    with refusing(uri, "INSERT ON metrics WHEN NEW.step = 350"), pytest.raises(Exception, match="no room"):
        sync(folder, uri)
    client, runs = runs_of(uri)
    trial = next(run for run in runs if run.info.run_name == "none-000")
    stored = {metric.step for metric in client.get_metric_history(trial.info.run_id, "val_nll")}
    noted = int(trial.data.tags["regtune.steps"])
    assert 0 < noted < 350
    assert stored >= set(range(1, noted + 1))
    sync(folder, uri)
    assert [step for step, _, _ in snapshot(uri)["none-000"]["metrics"]["val_nll"]] == list(range(1, 401))


def test_interrupted_runs_are_killed_and_finish_when_the_campaign_goes_on(campaign, new_store):
    folder, records = campaign
    uri = new_store()
    cut = next(n for n, r in enumerate(records) if r.get("trial") == "cutmix-001" and r["kind"] == "result") + 2
    write(folder, records[:cut])
    first = Mirror(folder, uri)
    first.start()
    assert first.drain(), first.error
    shown = statuses(uri)
    assert {name for name, status in shown.items() if status == "KILLED"} == {"none", "cutmix", "cutmix-001"}
    assert shown["cutmix-000"] == "FINISHED"
    assert next(r for r in runs_of(uri)[1] if r.info.run_name == "cutmix-001").data.tags["status"] == "interrupted"

    second = Mirror(folder, uri)
    second.start()
    book = ledger.Ledger(folder.ledger)
    book.append(records[cut])
    deadline = time.monotonic() + 30
    while statuses(uri)["cutmix-001"] != "RUNNING":
        assert time.monotonic() < deadline, second.error
        time.sleep(0.05)
    for record in records[cut + 1 :]:
        book.append(record)
    book.close()
    assert second.drain(), second.error
    assert second.error is None
    resumed = snapshot(uri)
    assert {run["status"][0] for run in resumed.values()} == {"FINISHED", "FAILED"}
    once = new_store("once")
    sync(folder, once)
    assert resumed == snapshot(once)


def test_a_run_created_twice_by_a_late_answer_is_kept_once(recorded, new_store):
    uri = new_store()
    sync(recorded, uri)
    before = snapshot(uri)
    client, runs = runs_of(uri)
    for run in runs:
        client.create_run(run.info.experiment_id, tags={k: v for k, v in run.data.tags.items() if k != "regtune.steps"})
    sync(recorded, uri)
    assert snapshot(uri) == before


def test_a_campaign_begun_anew_under_an_old_name_has_runs_of_its_own(campaign, new_store):
    folder, records = campaign
    uri = new_store()
    for _ in range(2):
        shutil.rmtree(folder.root, ignore_errors=True)
        write(folder, records[:20])
        sync(folder, uri)
    opened_at = [run.data.tags["regtune.opened"] for run in runs_of(uri)[1]]
    assert len(set(opened_at)) == 2
    assert opened_at.count(opened_at[0]) == len(opened_at) / 2


def test_two_mirrors_of_one_campaign_are_refused(recorded, new_store):
    uri = new_store()
    running = Mirror(recorded, uri)
    running.start()
    deadline = time.monotonic() + 30
    while running.page is None:
        assert time.monotonic() < deadline, running.error
        time.sleep(0.05)
    with pytest.raises(MirrorError, match="another process"):
        sync(recorded, uri)
    assert running.drain(), running.error
    assert running.page == "/#/experiments/1/runs?workflowType=machine_learning"
    sync(recorded, uri)


def test_a_deleted_experiment_is_explained(recorded, new_store):
    uri = new_store()
    sync(recorded, uri)
    client, runs = runs_of(uri)
    client.delete_experiment(runs[0].info.experiment_id)
    with pytest.raises(StoreError, match="mlflow experiments restore"):
        sync(recorded, uri)


def test_a_study_without_any_full_trial_has_failed(tmp_path):
    planned = plan(tmp_path, methods=["none"], search={"trials": 1})
    view = CampaignView(Folder(planned.folder))
    for record in [opened(planned), *search_trial("none", 0, 2, "diverged", 0.5)]:
        view.apply({**record, "time": 1.0})
    assert view.run("none").status == "FAILED"


def test_too_long_and_oddly_named_things_are_made_to_fit(tmp_path, new_store):
    planned = plan(tmp_path / "runs", methods=["none"])
    trial = suggested("none-000", "none", 0, 100)
    trial["params"] = {"lr": 0.1, "text": "x" * 7000}
    failure = {"class": "ValueError", "message": "y" * 9000}
    end = {"kind": "ended", "trial": "none-000", "status": "failed", "error": failure}
    folder = Folder(planned.folder)
    write(folder, [opened(planned), trial, result("none-000", 1, **{"top5@1(%)": 0.5, "flag": True}), end])
    uri = new_store()
    sync(folder, uri)
    shown = snapshot(uri)["none-000"]
    assert shown["params"]["text"] == "x" * 6000
    assert len(shown["tags"]["error"]) == 8000
    assert shown["metrics"]["top5_1___"][0][1] == 0.5
    assert "flag" not in shown["metrics"]
    sync(folder, uri)
    assert snapshot(uri)["none-000"] == shown


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(port: int, store: str, artifacts: Path):
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        str(artifacts),
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # The server's workers for language-model jobs take longer to start than all the rest of it.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    try:
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def test_a_server_that_comes_late_gets_everything_once(campaign, new_store, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "LONGEST_PAUSE", 1.0)
    for name, value in mirror._SETTINGS.items():
        monkeypatch.setenv(name, value)
    folder, records = campaign
    port, store = free_port(), new_store("server")
    follower = Mirror(folder, f"http://127.0.0.1:{port}")
    write(folder, records[:30])
    follower.start()
    deadline = time.monotonic() + 30
    while follower.error is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "refused" in follower.error
    write(folder, records[30:])
    folder.document.write_text("name: small\n")
    with server(port, store, tmp_path / "artifacts"):
        assert follower.drain(90), follower.error
        client, runs = runs_of(f"http://127.0.0.1:{port}")
        study = next(run for run in runs if run.info.run_name == "none")
        assert [file.path for file in client.list_artifacts(study.info.run_id)] == ["campaign.yaml"]
    assert follower.error is None
    once = new_store("once")
    sync(folder, once)
    assert snapshot(store) == snapshot(once)


def test_draining_into_nowhere_ends_in_time_and_keeps_the_password(recorded):
    follower = Mirror(recorded, f"http://anna:geheim@127.0.0.1:{free_port()}")
    follower.start()
    started = time.monotonic()
    assert not follower.drain(1.5)
    assert time.monotonic() - started < 3
    assert follower.error
    assert "geheim" not in follower.error


def test_nothing_is_printed_and_starting_costs_nothing(recorded, tmp_path):
    program = f"""
import sys, time
from pathlib import Path
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import Mirror
started = time.monotonic()
mirror = Mirror(Folder(Path({str(recorded.root)!r})), "sqlite:///{tmp_path}/fresh.db")
imported = "mlflow" in sys.modules
mirror.start()
assert time.monotonic() - started < 0.5 and not imported
assert mirror.drain(120), mirror.error
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_mlflow_is(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    planned = plan(tmp_path)
    folder = Folder(planned.folder)
    assert tracking_uri(planned, folder) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri(planned, folder) == "http://mlflow.example:5000"
    assert tracking_uri(plan(tmp_path, tracking={"uri": "sqlite:////data/m.db"}), folder) == "sqlite:////data/m.db"


def test_storage_with_odd_characters(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    storage = tmp_path / "my runs 100%20+#?"
    planned = plan(storage)
    folder = Folder(planned.folder)
    write(folder, whole(planned)[:12])
    shutil.copy(empty_store, storage / "mlflow.db")
    folder.document.write_text("name: small\n")
    sync(folder)
    uri = tracking_uri(planned, folder)
    assert set(statuses(uri)) == {"none", "none-000"}
    assert ui_command(uri) == f"uv run mlflow ui --backend-store-uri {uri} --port 5000"
    assert list((storage / "mlartifacts" / "small").rglob("campaign.yaml"))


def test_secrets_are_never_shown():
    assert shown_uri("http://anna:geheim@host:5000/x") == "http://***@host:5000/x"
    assert shown_uri("postgresql://anna:ge@heim@db/mlflow") == "postgresql://***@db/mlflow"
    assert shown_uri("sqlite:////data/anna@home/mlflow.db") == "sqlite:////data/anna@home/mlflow.db"
    assert ui_command("https://anna:geheim@host") == "https://***@host"
    assert (
        ui_command("sqlite:////my runs/m.db")
        == "uv run mlflow ui --backend-store-uri 'sqlite:////my runs/m.db' --port 5000"
    )
