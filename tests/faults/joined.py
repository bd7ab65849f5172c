"""Drivers in processes of their own that join a running Ray, and what its nodes run for them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Joined:
    """A running Ray.

    Args:
        cluster: of `ray.cluster_utils`; its first node is started here.
        first: arguments of that node.
    """

    def __init__(self, cluster, **first):
        self._cluster = cluster
        self._drivers: subprocess.Popen | None = None
        # The health checks that declare a node dead are Ray's, but not as patient.
        checks = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_timeout_ms": 1000}
        checks["health_check_failure_threshold"] = 3
        self.add_node(_system_config=checks, **first)

    def add_node(self, **node) -> int:
        """Starts a node; the number of its raylet's process."""
        added = self._cluster.add_node(include_dashboard=False, object_store_memory=100_000_000, **node)
        return added.all_processes["raylet"][0].process.pid

    @property
    def address(self) -> str:
        return self._cluster.address

    def command(self, *command: str, **popen) -> subprocess.Popen:
        """Python with these arguments; a driver in it joins."""
        environment = {**os.environ, "JOINED_RAY": self.address, "COLUMNS": "200"}
        return subprocess.Popen([sys.executable, *command], env=environment, cwd=ROOT, text=True, **popen)

    def drive(self, campaign: Path, *kill: object) -> int:
        """Runs a campaign by `tests.faults.driver`; its exit code, once all its workers are gone."""
        if self._drivers is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._drivers = self.command("-m", "tests.faults.driver", **pipes)
        print(json.dumps([str(campaign), *map(str, kill)]), file=self._drivers.stdin, flush=True)
        code = int(self._drivers.stdout.readline())
        wait_until(lambda: not self.workers())
        return code

    def close(self) -> None:
        if self._drivers is not None:
            self._drivers.kill()
            self._drivers.communicate()

    def workers(self) -> list[int]:
        """The processes that train, or are about to."""
        nodes = self._cluster.list_all_nodes()
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes if "raylet" in node.all_processes]
        return [pid for raylet in raylets for pid in children(raylet) if trains(pid)]


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def bearing(variable: str) -> list[int]:
    """The running processes with this in their environment, given as NAME=VALUE: those that some process started."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:
            continue
    return found


def trains(pid: int) -> bool:
    """Whether a process is a worker in use: it bears the name of what it carries."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_text()
        return name.startswith(("ray::CampaignTrainable", "ray::ResourceTrainable"))  # between steps, and within one
    except OSError:
        return False


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only its entry in the table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns once it holds; fails if that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)
