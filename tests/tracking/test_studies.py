"""Replicated studies and an extended campaign in a real MLflow store."""

import pytest

from tests.tracking.literal import EPOCHS, SEEDS, final_trial, opened, plan, search_trial, write
from tests.tracking.shown import new_store, snapshot
from tuner.campaign.extension import extended
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import sync
from tuner.tracking.view import CampaignView


@pytest.fixture
def extension(tmp_path) -> tuple[Folder, list[dict], list[dict]]:
    """A whole campaign of one method, and what was recorded after a second search trial was added and won."""
    document = plan(tmp_path / "runs", methods=["cutmix"], search={"trials": 1})
    more = extended(document, "+1", [], None)
    before = [opened(document), *search_trial("cutmix", 0, EPOCHS, "completed", 0.2)]
    for seed in SEEDS:
        before += final_trial("cutmix", seed, 0.04)
    after = [{"kind": "extended", "document": more.as_yaml()}, *search_trial("cutmix", 1, EPOCHS, "completed", 0.1)]
    for seed in SEEDS:
        after += final_trial("cutmix", seed, 0.02, number=1)
    return Folder(document.folder), before, after


def test_superseded_final_runs_are_tagged_and_in_no_mean(extension, store):
    folder, before, after = extension
    write(folder, [*before, *after])
    sync(folder, store)
    shown = snapshot(store)
    superseded = {name for name, run in shown.items() if run["tags"].get("superseded") == "true"}
    assert superseded == {f"cutmix-final-000-seed{seed}" for seed in SEEDS}
    last = {name: points[-1][1] for name, points in shown["cutmix"]["metrics"].items()}
    assert (last["test_error_mean"], last["test_error_n"], last["trials"]) == (0.02, 2, 2)
    assert "2 search trials" in shown["cutmix"]["tags"]["mlflow.note.content"]


def test_a_campaign_that_was_mirrored_before_it_was_extended_ends_as_one_that_was_not(extension, store, tmp_path):
    folder, before, after = extension
    write(folder, before)
    sync(folder, store)
    assert snapshot(store)["cutmix"]["status"][0] == "FINISHED"
    write(folder, after[:1])
    sync(folder, store)
    assert snapshot(store)["cutmix"]["status"][0] == "KILLED"  # nobody carries on what is open again
    for record in after[1:]:
        write(folder, [record])
        if record["kind"] == "ended":
            sync(folder, store)
    resumed = snapshot(store)
    once = new_store(tmp_path / "once.db")
    sync(folder, once)
    assert resumed == snapshot(once)
    assert resumed["cutmix"]["status"][0] == "FINISHED"


def test_an_extension_opens_the_studies_again(extension):
    folder, before, after = extension
    view = CampaignView(folder)
    for time, record in enumerate(before):
        view.apply({**record, "time": float(time)})
    assert view.run("cutmix").status == "FINISHED"
    assert view.apply({**after[0], "time": 1e3}) == ["cutmix"]  # at once: its next trial may be hours away
    assert view.run("cutmix").status == "RUNNING"


def test_a_final_run_that_was_stopped_for_a_better_setting_is_killed(extension, store):
    folder, before, after = extension
    cut = next(n for n, record in enumerate(before) if record.get("trial") == "cutmix-final-000-seed1") + 3
    stopped = {"kind": "ended", "trial": "cutmix-final-000-seed1", "status": "superseded"}
    write(folder, [*before[:cut], *after, stopped])
    sync(folder, store)
    run = snapshot(store)["cutmix-final-000-seed1"]
    assert (run["status"][0], run["tags"]["status"], run["tags"]["superseded"]) == ("KILLED", "superseded", "true")


def test_one_parent_a_study_and_every_run_says_its_replicate(tmp_path, store):
    document = plan(tmp_path / "runs", methods=["none"], search={"trials": 1, "replicates": 2})
    records = [opened(document)]
    for study in document.studies:
        records += search_trial("none", 0, EPOCHS, "completed", 0.2, study.replicate)
        for seed in document.final_seeds(study):
            records += final_trial("none", seed, 0.04 + study.replicate, replicate=study.replicate)
    folder = Folder(document.folder)
    write(folder, records)
    sync(folder, store)
    shown = snapshot(store)
    parents = {name: run["tags"]["mlflow.parentRunId"] for name, run in shown.items()}
    assert {name for name, parent in parents.items() if parent is None} == {"none", "none-r1"}
    children = {name for name, parent in parents.items() if parent == "none-r1"}
    assert len(children) == 3
    assert {shown[name]["tags"]["replicate"] for name in children} == {"1"}
    assert shown["none-r1"]["metrics"]["test_error_mean"][-1][1] == pytest.approx(1.04)
    assert {run["status"][0] for run in shown.values()} == {"FINISHED"}


def test_one_replicate_says_nothing_of_replicates(mirrored):
    assert all("replicate" not in run["tags"] and "superseded" not in run["tags"] for run in mirrored.shown.values())
