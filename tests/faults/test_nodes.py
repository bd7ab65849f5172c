"""Nodes that are lost while they train: the trial goes on on the other one, and of the old worker nothing is left."""

import os
import signal

import pytest

from tests.faults.joined import Joined, children, runs, wait_until
from tests.faults.test_workers import (
    assert_whole,
    campaign_in,
    records_of,
    state_of,
    steps_begun,
    uninterrupted,
    without_seconds,
)


@pytest.fixture(scope="module")
def nodes(cluster) -> Joined:
    """A Ray with a head that trains nothing and one node that may."""
    joined = Joined(cluster, num_cpus=0)
    joined.add_node(num_cpus=1)
    return joined


def kill_node(raylet):
    for process in (raylet, *children(raylet)):
        os.kill(process, signal.SIGKILL)


def kill_raylet(raylet):
    os.kill(raylet, signal.SIGKILL)


def cut_off(raylet):
    """It answers nobody, so that Ray takes the node for dead; its workers do not notice."""
    os.kill(raylet, signal.SIGSTOP)


def fall_asleep(raylet):
    """The whole machine, as a virtual one may: its worker wakes up later, and its trial is another's by then."""
    for process in (raylet, *children(raylet)):
        os.kill(process, signal.SIGSTOP)


def wake_up(raylet, worker):
    os.kill(worker, signal.SIGCONT)  # first of all: what it can still do, it does
    for process in (*children(raylet), raylet):
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("lose", [kill_node, kill_raylet, cut_off, fall_asleep])
def test_a_trial_goes_on_on_another_node(tmp_path, nodes, lose, tally):
    nodes.add_node(num_cpus=1)
    campaign, mark = campaign_in(tmp_path, "Holding"), tmp_path / "held"
    with nodes.command("-m", "tests.faults.driver", str(campaign)) as driver:
        wait_until(lambda: mark.exists() and len(mark.read_text().split()) == 2)
        worker, raylet = map(int, mark.read_text().split())
        assert runs(worker)
        try:
            lose(raylet)
            tally.fault("node lost")
            if lose is fall_asleep:
                wait_until(lambda: any(record.get("attempt") == 2 for record in records_of(tmp_path)))
                wake_up(raylet, worker)
            # It hangs in a batch, and never comes to a poll of its own.
            wait_until(lambda: not runs(worker), seconds=60 if lose is cut_off else 10)
            assert driver.wait(timeout=120) == 0
        finally:
            driver.kill()
            if runs(raylet):
                kill_node(raylet)
            if runs(worker):
                os.kill(worker, signal.SIGKILL)
    assert_whole(tmp_path, suggested=2)
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")
    trial, final = state_of(tmp_path).trials.values()
    assert (trial.status, trial.epoch, trial.attempt) == ("completed", 4, 2)
    assert (final.status, final.epoch) == ("completed", 4)

    steps = steps_begun(tmp_path)
    held_at = max(step for process, step in steps if process == worker)
    assert [step for _, step in steps] == [*range(held_at + 1), *range(held_at, 8), *range(8)]
    assert [without_seconds(row) for row in trial.rows] == uninterrupted(campaign, trial)
