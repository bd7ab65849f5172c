"""A folder that cannot hold a campaign is refused before anything starts, with a sentence that says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_disk import mounted
from tests.search.simulated import FACTS, carry
from tests.search.test_tune_cli import CONTENT
from tuner.campaign import reading, yaml_file
from tuner.campaign.campaign import Campaign
from tuner.campaign.faults import DocumentError
from tuner.campaign.ledger import LedgerError
from tuner.campaign.storage import bytes_needed, check_storage

ROOT = Path(__file__).parents[2]


def document(storage, **changed):
    return reading.check({**CONTENT, "storage": str(storage), **changed}, "two.yaml")


def refusal(storage, **changed) -> str:
    with pytest.raises(DocumentError) as refused:
        check_storage(document(storage, **changed), FACTS, "two.yaml")
    return str(refused.value)


def test_a_sound_folder_is_made_and_left_empty(tmp_path):
    check_storage(document(tmp_path / "a" / "b"), FACTS, "two.yaml")
    assert list((tmp_path / "a" / "b" / "two").iterdir()) == []


@pytest.mark.parametrize("place", ["runs", "runs/two"])
def test_a_file_in_the_way(tmp_path, place):
    obstacle = tmp_path / place
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("in the way")
    sentence = refusal(tmp_path / "runs")
    assert sentence == (
        f"two.yaml: storage: {obstacle} lies where a folder has to be, and is none. "
        "Choose another `storage`, or make this one writable."
    )
    assert obstacle.read_text() == "in the way"


def test_a_read_only_place(tmp_path):
    with mounted(tmp_path, "ro"):
        sentence = refusal(tmp_path / "missing")
    assert f"{tmp_path}/missing cannot be used: Read-only file system. Choose another `storage`" in sentence


def test_a_folder_that_somebody_may_not_write(tmp_path):
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert "Permission denied" in refusal(tmp_path)
    else:  # to whom nothing is forbidden
        assert "/proc" in refusal("/proc")


def test_too_little_room_is_refused_with_path_room_and_need_before_a_folder_is_made(tmp_path):
    with mounted(tmp_path, "size=1m"):
        sentence = refusal(tmp_path / "runs", model={"name": "preactresnet18"})
        assert not (tmp_path / "runs").exists()
    need = bytes_needed(document(tmp_path, model={"name": "preactresnet18"}), FACTS)
    assert f"{tmp_path}/runs/two has 1.0 MB free, and the campaign needs up to {need / 1e6:,.1f} MB" in sentence
    assert "Make room" in sentence


def test_the_need_counts_weights_velocities_and_the_best_weights_of_all_trials_at_once(tmp_path):
    one = {"resources": {"max_concurrent": 1}, "final": {"seeds": [0], "select": "last"}, "methods": ["none"]}
    few = bytes_needed(document(tmp_path, **one), FACTS)
    net = document(tmp_path).model
    weights = 4 * net.parameter_count(1, 10, 8)
    assert 7 * weights < few < 7.5 * weights  # three files of weights and velocities, and a final net
    two = {**one, "resources": {"max_concurrent": 2}}
    assert 13 * weights < bytes_needed(document(tmp_path, **two), FACTS) < 14 * weights
    best = {**one, "final": {"seeds": [0], "select": "best_val"}}
    assert 10 * weights < bytes_needed(document(tmp_path, **best), FACTS) < 10.8 * weights


def test_what_the_campaign_holds_already_needs_no_second_room(tmp_path):
    large = {"name": "preactresnet18", "width": 4, "blocks": [1, 1, 1, 1]}
    needed = bytes_needed(document(tmp_path, model=large), FACTS)
    with mounted(tmp_path, f"size={needed + 300_000}"):
        runs = document(tmp_path, model=large)
        held = runs.folder / "trials" / "none-000" / "attempt-1" / "step-000000000001.ckpt"
        held.parent.mkdir(parents=True)
        (runs.folder / "ledger.jsonl").touch()
        held.write_bytes(bytes(needed // 2))
        check_storage(runs, FACTS, "two.yaml")
        shutil.move(held, tmp_path / "not of the campaign")
        assert "Make room" in refusal(tmp_path, model=large)


def test_trials_without_their_ledger_are_not_begun_anew(tmp_path):
    carry(document(tmp_path))
    folder = tmp_path / "two"
    (folder / "trials" / "none-final-000-seed0").mkdir(parents=True)
    (folder / "ledger.jsonl").unlink()
    sentence = refusal(tmp_path)
    assert f"their ledger, {folder}/ledger.jsonl, is gone" in sentence
    assert not (folder / "ledger.jsonl").exists()


def test_a_campaign_of_another_document_is_refused_and_stays(tmp_path):
    carry(document(tmp_path))
    before = (tmp_path / "two" / "ledger.jsonl").read_bytes()
    other = document(tmp_path, training={**CONTENT["training"], "epochs": 5})
    check_storage(other, FACTS, "two.yaml")
    with pytest.raises(LedgerError, match=r"training\.epochs: 4 -> 5"):
        Campaign.open(other, FACTS)
    assert (tmp_path / "two" / "ledger.jsonl").read_bytes() == before


NAMES = ["../two", "/tmp/two", "..", ".two", "a/b", "a\\b/../c", "two\n", "", "~"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_its_folder(tmp_path, name):
    with pytest.raises(DocumentError, match="name"):
        document(tmp_path, name=name)


def test_on_the_command_line_it_is_exit_code_two_and_one_sentence(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    path = tmp_path / "two.yaml"
    path.write_text(yaml_file.dump({**CONTENT, "storage": str(tmp_path / "runs")}), encoding="utf-8")
    outcome = subprocess.run([sys.executable, "tune.py", path], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 1
    assert str(tmp_path / "runs") in outcome.stderr
