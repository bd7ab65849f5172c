"""What the probe reads off the clock, on a clock that the training itself drives, and what becomes of its workers."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tests.search.test_tune_cli import CONTENT
from tuner.campaign import reading, yaml_file
from tuner.search import probe
from tuner.search.probe import Probe
from tuner.search.scheduler import LedgerScheduler

ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Training:
    """Batches of known length, and a look at the validation images of 50 s behind every `batches_per_epoch`."""

    def __init__(self, clock, seconds, batches_per_epoch):
        self.clock, self.seconds, self.batches_per_epoch = clock, seconds, batches_per_epoch

    def rows(self, device, should_stop):
        for number, seconds in enumerate(self.seconds, start=1):
            if should_stop():
                return
            self.clock.now += seconds
            if number % self.batches_per_epoch == 0:
                self.clock.now += 50
                yield {}


@pytest.fixture
def measured(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(probe, "time", clock)

    def measure(seconds, batches_per_epoch):
        return probe.measure({"any": Training(clock, seconds, batches_per_epoch)}, "cpu")["any"]

    return measure


def test_the_mean_of_warm_batches_counts_without_the_validation(measured):
    # the first two warm up, the fourth holds a validation; 1, 1 and 3 are left before there is enough
    assert measured([100, 100, 1, 3, 1, 3, 1, 3], batches_per_epoch=4) == pytest.approx((1 + 1 + 3) / 3)


def test_it_goes_on_for_half_a_second(measured):
    # dear and cheap batches in turn, as a method has them that works on every other one
    assert measured([9, 9, *[0.01, 0.03] * 100], batches_per_epoch=1000) == pytest.approx(0.02, rel=0.05)


def test_where_every_batch_is_an_epoch_the_validation_is_in_it(measured):
    assert measured([9, 9, 2, 2, 2, 2, 2, 2], batches_per_epoch=1) == pytest.approx(52)


def test_a_training_that_is_over_at_once_still_has_a_step(measured):
    assert measured([2, 2, 2], batches_per_epoch=3) == pytest.approx(2)
    assert measured([2], batches_per_epoch=1) == 0


def document_of(tmp_path, methods):
    return reading.check({**CONTENT, "methods": methods, "storage": str(tmp_path)}, "probe.yaml")


def test_a_worker_waits_for_the_others_unless_it_is_needed_or_all_is_over(tmp_path):
    campaign = SimpleNamespace(stopping=False)
    tried = Probe(document_of(tmp_path, ["none", "mixup", "cutmix"]), 3, lambda _: None)
    scheduler = LedgerScheduler(campaign, tried)

    def decision(**outcomes):
        return scheduler.on_trial_result(None, None, {"probe": [outcomes]})

    [first], [second] = tried.next_share(), tried.next_share()
    assert decision(**{first: 0.1}) == TrialScheduler.STOP  # one share is left
    [third] = tried.next_share()
    assert decision() == TrialScheduler.CONTINUE
    other = SimpleNamespace(status=Trial.PENDING, is_finished=lambda: False)
    scheduler.on_trial_add(None, other)
    assert decision() == TrialScheduler.STOP  # so that its worker takes the other one's share
    other.status = Trial.RUNNING
    assert decision() == TrialScheduler.CONTINUE
    campaign.stopping = True
    assert decision() == TrialScheduler.STOP
    campaign.stopping = False
    assert decision(**{second: 0.2, third: 0.3}) == TrialScheduler.STOP
    assert decision() == TrialScheduler.STOP


def test_the_trial_that_came_first_runs_first_and_ended_ones_are_forgotten():
    scheduler = LedgerScheduler(None, None)
    assert scheduler.choose_trial_to_run(None) is None
    trials = [SimpleNamespace(status=Trial.RUNNING, is_finished=lambda: False) for _ in range(4)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is None
    trials[2].status = trials[1].status = Trial.PENDING
    assert scheduler.choose_trial_to_run(None) is trials[1]
    trials[1].is_finished, trials[1].status = lambda: True, Trial.TERMINATED
    scheduler.on_trial_add(None, trials[0])  # a second time, as after a lost worker
    assert scheduler.choose_trial_to_run(None) is trials[2]
    trials[0].status = Trial.PENDING
    assert scheduler.choose_trial_to_run(None) is trials[2]


def test_a_share_that_is_tried_again_keeps_its_first_outcome(tmp_path):
    told = []
    tried = Probe(document_of(tmp_path, ["none", "mixup"]), 2, told.append)
    tried.record({"none": 0.1})
    tried.record({"none": 0.3})
    assert not tried.done
    tried.record({"mixup": 0.2})
    tried.lost({"mixup": None})  # its worker died while it waited
    assert told == [{"none": 0.1, "mixup": 0.2}]
    assert tried.done
    assert not tried.failed


@pytest.mark.timeout(300)
def test_the_workers_that_tried_the_methods_train_the_trials(tmp_path, ray_folder):
    marks = tmp_path / "marks"
    marks.mkdir()
    names = [f"tests.search.marking_methods.{name}" for name in ("Prompt", "Late")]
    content = {
        **CONTENT,
        "methods": [{"name": name, "folder": str(marks)} for name in names],
        "training": {**CONTENT["training"], "epochs": 60},  # time enough to start another worker
        "search": {"trials": 0},
        "final": {"seeds": [0], "select": "last"},
        "spaces": {name: {} for name in ("shared", *names)},
        "resources": {"max_concurrent": 2},
        "storage": str(tmp_path / "runs"),
    }
    path = tmp_path / "two.yaml"
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    environment = {**os.environ, "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tune.py"), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(marks.iterdir())) == 2
