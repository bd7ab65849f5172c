"""`tune.py` as a user runs it: a real campaign of two methods through Ray, Optuna and MLflow, and then again."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.joined import wait_until
from tuner.campaign import yaml_file
from tuner.campaign.ledger import read

ROOT = Path(__file__).parents[2]

CONTENT = {
    "name": "two",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 5, "validation_per_class": 5},
    "model": {"name": "preactresnet18", "width": 4, "blocks": [1, 1, 1, 1]},
    "methods": ["none", "patchup_soft"],
    "training": {"epochs": 4, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 4},
    "final": {"seeds": [0, 1], "select": "best_val"},
}


@pytest.fixture(scope="module")
def environment(ray_folder):
    return {**os.environ, "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def document_in(folder: Path, **changed) -> Path:
    path = folder / "two.yaml"
    path.write_text(yaml_file.dump({**CONTENT, "storage": str(folder / "runs"), **changed}), encoding="utf-8")
    return path


def tune(environment, *arguments):
    command = [sys.executable, str(ROOT / "tune.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, cwd=ROOT)


def kinds_of(folder: Path) -> Counter:
    return Counter(record["kind"] for record, _ in read(folder / "runs" / "two" / "ledger.jsonl"))


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """A campaign that ran through, and what it printed."""
    folder = tmp_path_factory.mktemp("two")
    outcome = tune(environment, document_in(folder))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return folder, outcome


def test_it_prints_a_plan_a_line_for_each_trial_the_table_and_what_to_do_next(finished):
    _, outcome = finished
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith("Plan of two")
    assert sum(bool(re.match(r"\[ ?\d+/12\] ", line)) for line in lines) == 12
    assert re.search(r"^none .* ± .* 2 ", outcome.stdout, re.MULTILINE)
    assert "uv run mlflow ui --backend-store-uri sqlite:///" in outcome.stdout
    assert "uv run tune.py rerun" in outcome.stdout
    assert "ray" not in outcome.stderr.lower()


def test_every_trial_ended_once_with_epochs_from_one_to_its_last(finished):
    folder, _ = finished
    epochs, ended = {}, Counter()
    for record, _ in read(folder / "runs" / "two" / "ledger.jsonl"):
        if record["kind"] == "result":
            epochs.setdefault(record["trial"], []).append(record["row"]["epoch"])
        if record["kind"] == "ended":
            ended[record["trial"]] += 1
    assert len(ended) == 12
    assert set(ended.values()) == {1}
    assert all(of_trial == list(range(1, len(of_trial) + 1)) for of_trial in epochs.values())


def test_two_workers_ran_all_trials_and_the_final_ones_keep_their_weights(finished):
    folder, _ = finished
    kept = sorted(path.parts[-3] for path in (folder / "runs" / "two" / "trials").rglob("weights.pt"))
    assert len(kept) == 4
    assert all("final" in trial for trial in kept)


def test_mlflow_holds_a_parent_a_method_and_a_child_a_trial(finished):
    import mlflow

    folder, _ = finished
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    [experiment] = [found for found in client.search_experiments() if found.name == "two"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(run.info.run_name for run in parents) == ["none", "patchup_soft"]
    for parent in parents:
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert len(children) == 6
        assert {run.info.status for run in children} == {"FINISHED"}
        assert parent.data.metrics["test_error_n"] == 2


def test_a_finished_campaign_is_only_shown(finished, environment):
    folder, _ = finished
    before = (folder / "runs" / "two" / "ledger.jsonl").read_bytes()
    again = tune(environment, folder / "two.yaml")
    assert again.returncode == 0
    assert "Plan" not in again.stdout
    assert (folder / "runs" / "two" / "ledger.jsonl").read_bytes() == before


def test_an_exported_configuration_runs_again(finished, environment):
    folder, _ = finished
    outcome = tune(environment, "rerun", folder / "runs" / "two" / "best" / "patchup_soft.yaml", "--seeds", 1)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    records = [r for r, _ in read(folder / "runs" / "two-patchup_soft-seeds1" / "ledger.jsonl")]
    # The same configuration and seed, so bitwise the same figures.
    first = [r for r, _ in read(folder / "runs" / "two" / "ledger.jsonl")]
    assert _test_errors(records, seed=0) == _test_errors(first, seed=0, method="patchup_soft")


def _test_errors(records, seed, method="patchup_soft"):
    trials = {
        r["trial"]
        for r in records
        if r["kind"] == "suggested" and r["trial_kind"] == "final" and (r["seed"], r["method"]) == (seed, method)
    }
    rows = [r["row"] for r in records if r["kind"] == "result" and r["trial"] in trials]
    return [row["test_error"] for row in rows if "test_error" in row]


@pytest.mark.timeout(500)
def test_ctrl_c_saves_the_position_and_the_same_command_goes_on(environment, tmp_path):
    # Under fifo, so that each trial takes its seconds: one that a rung stops is over as soon as it is heard of.
    path = document_in(
        tmp_path,
        training={**CONTENT["training"], "epochs": 120},
        search={**CONTENT["search"], "scheduler": "fifo"},
        final={"seeds": [0], "select": "last"},
    )
    command = [sys.executable, str(ROOT / "tune.py"), str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        output = ""
        for line in running.stdout:
            output += line
            if line.startswith("[ 1/"):
                # Two that began together may end together; the third has most of its epochs before it.
                wait_until(lambda: kinds_of(tmp_path)["attempt"] > 2)
                running.send_signal(signal.SIGINT)
        assert running.wait(timeout=120) == 130
    assert f"Go on with: uv run {ROOT / 'tune.py'} {path}" in output
    interrupted = kinds_of(tmp_path)
    assert interrupted["ended"] < interrupted["suggested"] <= 10

    outcome = tune(environment, path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert kinds_of(tmp_path)["suggested"] == kinds_of(tmp_path)["ended"] == 10
    assert kinds_of(tmp_path)["attempt"] > 10  # somebody went on from a saved position


def test_a_wrong_document_is_refused_at_once_with_all_its_faults(environment, tmp_path):
    path = document_in(tmp_path, methods=["nonee"], final={"seeds": ["one"]}, traning={})
    outcome = tune(environment, path)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 3
    assert "did you mean none?" in outcome.stderr
    assert not (tmp_path / "runs").exists()


def test_a_method_that_breaks_on_its_first_batches_is_refused_before_the_first_trial(environment, tmp_path):
    broken = "tests.search.broken_method.Broken"
    path = document_in(tmp_path, methods=["none", broken], spaces={broken: {}})
    outcome = tune({**environment, "PYTHONPATH": str(ROOT)}, path)
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert "methods[1]" in outcome.stderr
    assert "there is no such mixing" in outcome.stderr
    assert kinds_of(tmp_path) == {"opened": 1}
