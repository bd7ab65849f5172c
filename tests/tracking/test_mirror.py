"""The mirror against a real MLflow in SQLite stores: what it shows, and that it shows it once."""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import fmean, stdev

import pytest

from tests.tracking.literal import DIGEST, EPOCHS, opened, plan, search_trial, write
from tests.tracking.shown import new_store, runs_of, snapshot, statuses, wait_until
from tuner.campaign import ledger
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import HANDOVER_SECONDS, Mirror, _Copy, sync
from tuner.tracking.problem import TrackingError
from tuner.tracking.view import CampaignView

REPOSITORY = Path(__file__).parents[2]


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


def test_artifacts_lie_in_the_campaigns_storage(recorded, store):
    recorded.document.write_text("name: small\n")
    sync(recorded, store)
    recorded.best.mkdir()
    (recorded.best / "cutmix.yaml").write_text("name: small-cutmix  # µ\n", encoding="utf-8")
    recorded.report.mkdir()
    (recorded.report / "index.html").write_text("<p>who won</p>")
    sync(recorded, store)
    client, runs = runs_of(store)
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


def test_mirrored_twice_is_mirrored_once(recorded, store):
    synced = sync(recorded, store)
    once = snapshot(store)
    assert synced == sync(recorded, store)
    assert synced.records == sum(1 for _ in ledger.read(recorded.ledger))
    assert snapshot(store) == once


def test_mirrored_in_pieces_is_mirrored_in_one_go(recorded, store, tmp_path):
    once = new_store(tmp_path / "once.db")
    sync(recorded, once)
    ends = [offset for _, offset in ledger.read(recorded.ledger)]
    content = recorded.ledger.read_bytes()
    for end in [*ends[::3], ends[-1]]:
        recorded.ledger.write_bytes(content[:end])
        sync(recorded, store)
    assert snapshot(store) == snapshot(once)


def test_interrupted_runs_are_killed_and_finish_when_the_campaign_goes_on(campaign, store, tmp_path):
    folder, records = campaign
    cut = next(n for n, r in enumerate(records) if r.get("trial") == "cutmix-001" and r["kind"] == "result") + 2
    write(folder, records[:cut])
    first = Mirror(folder, store)
    first.start()
    assert first.drain(), first.error
    shown = statuses(store)
    assert {name for name, status in shown.items() if status == "KILLED"} == {"none", "cutmix", "cutmix-001"}
    assert shown["cutmix-000"] == "FINISHED"
    assert next(r for r in runs_of(store)[1] if r.info.run_name == "cutmix-001").data.tags["status"] == "interrupted"

    second = Mirror(folder, store)
    second.start()
    book = ledger.Ledger(folder.ledger)
    book.append(records[cut])
    wait_until(lambda: statuses(store)["cutmix-001"] == "RUNNING")
    for record in records[cut + 1 :]:
        book.append(record)
    book.close()
    assert second.drain(), second.error
    assert second.error is None
    resumed = snapshot(store)
    assert {run["status"][0] for run in resumed.values()} == {"FINISHED", "FAILED"}
    once = new_store(tmp_path / "once.db")
    sync(folder, once)
    assert resumed == snapshot(once)


def test_a_run_created_twice_by_a_late_answer_is_kept_once(recorded, store):
    sync(recorded, store)
    before = snapshot(store)
    client, runs = runs_of(store)
    for run in runs:
        client.create_run(run.info.experiment_id, tags={k: v for k, v in run.data.tags.items() if k != "regtune.steps"})
    sync(recorded, store)
    assert snapshot(store) == before


def test_a_campaign_begun_anew_under_an_old_name_has_runs_of_its_own(campaign, store):
    folder, records = campaign
    for _ in range(2):
        shutil.rmtree(folder.root, ignore_errors=True)
        write(folder, records[:20])
        sync(folder, store)
    opened_at = [run.data.tags["regtune.opened"] for run in runs_of(store)[1]]
    assert len(set(opened_at)) == 2
    assert opened_at.count(opened_at[0]) == len(opened_at) / 2


def test_two_mirrors_of_one_campaign_are_refused(recorded, store):
    running = Mirror(recorded, store)
    running.start()
    wait_until(lambda: running.page)
    with pytest.raises(TrackingError, match="another process"):
        sync(recorded, store)
    assert running.drain(), running.error
    assert running.page == "/#/experiments/1/runs?workflowType=machine_learning"
    sync(recorded, store)


def test_a_deleted_experiment_is_explained(recorded, store):
    sync(recorded, store)
    client, runs = runs_of(store)
    client.delete_experiment(runs[0].info.experiment_id)
    with pytest.raises(TrackingError, match="mlflow experiments restore"):
        sync(recorded, store)


def test_a_study_without_any_full_trial_has_failed(tmp_path):
    planned = plan(tmp_path, methods=["none"], search={"trials": 1})
    view = CampaignView(Folder(planned.folder))
    for record in [opened(planned), *search_trial("none", 0, 2, "diverged", 0.5)]:
        view.apply({**record, "time": 1.0})
    assert view.run("none").status == "FAILED"


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


def test_between_two_runs_the_mirror_rests_as_long_as_it_worked(recorded, store):
    """While trials run, so that it takes half of the driver's time at most."""
    rests: list[float] = []
    copy = _Copy(recorded, store, {})
    began = time.monotonic()
    with closing(copy):
        copy.catch_up(rest=rests.append)
    assert len(rests) == len(snapshot(store))
    assert 0 < sum(rests) < time.monotonic() - began
    assert min(rests) > 0


def test_the_driver_s_thread_gets_its_turn_soon_while_the_mirror_works(recorded, store):
    before = sys.getswitchinterval()
    mirror = Mirror(recorded, store)
    mirror.start()
    try:
        wait_until(lambda: sys.getswitchinterval() == pytest.approx(HANDOVER_SECONDS))
    finally:
        assert mirror.drain(60)
    assert sys.getswitchinterval() == before


def test_a_mirror_that_nobody_waits_for_ends_between_two_runs(recorded, store):
    mirror = Mirror(recorded, store)
    mirror.start()
    wait_until(lambda: mirror.page)
    assert not mirror.drain(0)
    wait_until(lambda: "mlflow-mirror" not in {thread.name for thread in threading.enumerate()})
    first = snapshot(store)
    sync(recorded, store)
    assert first.items() != snapshot(store).items()
