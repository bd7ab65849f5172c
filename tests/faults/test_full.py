"""A campaign through `tune.py` whose disk is filled while it trains, and what becomes of it with room again."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.faults import faulty
from tests.faults.full_method import ROOM_LEFT
from tests.faults.test_disk import mounted
from tests.faults.test_sigkill import CONTENT
from tests.faults.test_workers import (
    THROUGH_TUNE,
    assert_whole,
    records_of,
    state_of,
    steps_begun,
    uninterrupted,
    without_seconds,
)
from tuner.campaign import yaml_file

FILLING = "tests.faults.full_method.Filling"


def campaign_in(folder: Path) -> Path:
    content = {
        **CONTENT,
        "methods": ["none", {"name": FILLING, "folder": str(folder)}],
        "spaces": {FILLING: faulty.SPACE},
        "search": {"trials": 1},
        "final": {"seeds": [0], "select": "last"},
        "storage": str(folder / "runs"),
        # On another disk: the journals that a database makes and removes would take the room, and give it back.
        "tracking": {"uri": f"sqlite:///{folder / 'mlflow.db'}"},
    }
    path = folder / "full.yaml"
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    return path


def tune(head, campaign: Path) -> tuple[int, str]:
    """Exit code and output of `tune.py run`."""
    command = ("-c", THROUGH_TUNE, "run", str(campaign))
    with head.command(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        output, _ = process.communicate(timeout=180)
    return process.returncode, output


@pytest.mark.timeout(400)
@pytest.mark.parametrize("checkpoints", ["whole", "cut"])
def test_a_campaign_whose_disk_was_full_goes_on_once_there_is_room(tmp_path, head, checkpoints, tally):
    campaign, runs = campaign_in(tmp_path), tmp_path / "runs"
    with mounted(runs, "size=60m"):
        code, output = tune(head, campaign)
        assert code == 1, output
        tally.fault("disk full")
        assert "Traceback" not in output
        folder = runs / "killed" / "trials" / f"{FILLING}-000" / "attempt-1"
        filled_at = max(step for _, step in steps_begun(tmp_path))
        saved = [folder / f"step-{step:012d}.ckpt" for step in (filled_at - 1, filled_at)]
        [line] = [line for line in output.splitlines() if line.startswith("Stopped: ")]
        told = re.search(r"No space left on device \(([\d,]+) bytes to write, ([\d,]+) bytes free\)", line)
        need, free = (int(number.replace(",", "")) for number in told.groups())
        assert need > ROOM_LEFT >= free
        assert str(folder / f"step-{filled_at + 1:012d}.ckpt") in line
        assert "the same command goes on" in output
        assert "The report cannot be written" in output
        assert sorted(folder.iterdir()) == saved, "the last good checkpoints, and no half one"
        before = records_of(runs)
        assert [r["status"] for r in before if r["kind"] == "ended"] == ["completed"]  # that of the other method

        if checkpoints == "whole":
            code, output = tune(head, campaign)
            assert code == 2, output
            assert "Make room" in output
            assert records_of(runs) == before

        (runs / "filler").unlink()
        cut = saved if checkpoints == "cut" else []
        for path in cut:
            path.write_bytes(path.read_bytes()[:-100])
            tally.fault("checkpoint damaged")
        code, output = tune(head, campaign)
        assert code == 0, output
        assert [path for path in saved if f"{path} is damaged and passed over" in output] == cut
        assert records_of(runs)[: len(before)] == before
        assert_whole(runs, suggested=4)
        tally.ledger(runs / "killed" / "ledger.jsonl")
        trials = state_of(runs).trials
        assert {trial.status for trial in trials.values()} == {"completed"}
        assert {name: trial.attempt for name, trial in trials.items()} == dict.fromkeys(trials, 1) | {
            f"{FILLING}-000": 2
        }
        trial = trials[f"{FILLING}-000"]
        assert [without_seconds(row) for row in trial.rows] == uninterrupted(campaign, trial)
        begun_again = 0 if cut else filled_at  # a checkpoint lies before each step
        steps = [step for _, step in steps_begun(tmp_path)]
        assert steps == [*range(filled_at + 1), *range(begun_again, 8), *range(8)]
        assert (runs / "killed" / "report" / "index.html").exists()
        assert not [path for path in runs.rglob(".*") if path.is_file()], "no temporary file is left"
