"""A rerun with five seeds, killed in its third: the first two are not run again, and there are five in the end."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.test_two_drivers import ROOT, campaign_in, holding, ledger_of, run
from tuner.campaign.ledger import read
from tuner.reporting.export import export
from tuner.reporting.find import find, state_of
from tuner.reporting.results import Results

TRAINING = """
import sys
import tune
from tests.faults.bare_driver import hold_before
from tuner.campaign.agenda import Resume, next_step
from tuner.campaign.campaign import Report
from tuner.commands import run
from tuner.search.trainable import _attempt_folder, _claim
from tuner.training.checkpoint import Checkpoints


def carry_out(campaign, *_):
    while (step := next_step(campaign.state, set())) != "done":
        trial = step.trial if isinstance(step, Resume) else campaign.suggest_final(step.study, step.best, step.seed)
        folder = campaign.folder.trial(trial.id)
        attempt, _ = _claim(folder, trial.attempt)
        *earlier, own = (_attempt_folder(folder, number) for number in range(1, attempt + 1))
        checkpoints = Checkpoints(own, every_seconds=0, also=earlier)
        batches = []
        for row in campaign.run_of(trial).rows("cpu", checkpoints, lambda: bool(batches.append(None))):
            campaign.receive(Report(trial.id, attempt, [row]))
        print(f"seed {trial.seed}: {len(batches)} batches")
    return 0


if (hold := sys.argv.pop(1)) != "never":
    kind, count = hold.split(":")
    hold_before(kind, int(count))
run.carry_out = carry_out
tune.main()
"""
"""`tune.py` as it is typed, but for Ray: every trial is trained in this very process, and saved before each batch."""


def of_kind(ledger, kind):
    return [record for record, _ in read(ledger) if record["kind"] == kind]


@pytest.fixture
def exported(tmp_path):
    """The best configuration of a finished search, as a file."""
    campaign = campaign_in(tmp_path)
    assert run("run", campaign).returncode == 0
    storage = ledger_of(campaign).parents[1]
    return export(state_of(find("two", storage)), tmp_path / "best")["mixup"]


def test_killed_in_its_third_seed_it_goes_on_there_and_has_exactly_five(exported, tally):
    ledger = exported.parents[1] / "runs" / "two-mixup-seeds5" / "ledger.jsonl"
    arguments = ("rerun", str(exported), "--seeds", "5")
    with holding("result:11", "-c", TRAINING, *arguments) as first:  # the third epoch of the third seed
        os.kill(first.pid, signal.SIGKILL)
        tally.fault("driver killed")
    before = ledger.read_bytes()
    assert [record["seed"] for record in of_kind(ledger, "suggested")] == [0, 1, 2]
    assert len(of_kind(ledger, "ended")) == 2

    command = [sys.executable, "-c", TRAINING, "never", *arguments]
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert again.returncode == 0, again.stderr
    tally.ledger(ledger)
    # Eight batches a seed; of the third one, five were done when its newest checkpoint was saved.
    trained = [line for line in again.stdout.splitlines() if line.startswith("seed ")]
    assert trained == ["seed 2: 3 batches", "seed 3: 8 batches", "seed 4: 8 batches"]
    assert ledger.read_bytes().startswith(before)
    assert [record["seed"] for record in of_kind(ledger, "suggested")] == [0, 1, 2, 3, 4]
    attempts = Counter(record["trial"] for record in of_kind(ledger, "attempt"))
    assert [attempts[record["trial"]] for record in of_kind(ledger, "suggested")] == [1, 1, 2, 1, 1]
    epochs = Counter((record["trial"], record["row"]["epoch"]) for record in of_kind(ledger, "result"))
    assert len(epochs) == 5 * 4
    assert set(epochs.values()) == {1}
    assert Counter(record["trial"] for record in of_kind(ledger, "ended")) == dict.fromkeys(attempts, 1)
    [method] = Results.of(state_of(find("two-mixup-seeds5", ledger.parents[1]))).methods
    assert [trial.seed for trial in method.finals] == [0, 1, 2, 3, 4]
