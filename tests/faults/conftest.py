"""A running Ray that the drivers of a module join: to start one of its own takes each of them seconds."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from tests.faults.joined import ROOT, Joined
from tests.faults.tally import Tally, summary


@pytest.fixture(scope="module")
def cluster(ray_folder):
    """A Ray without any node yet, in a temporary folder of its own; shut down after the module."""
    import tuner.search  # noqa: F401, I001  # which sets what Ray reads at import
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as inherited:
        inherited.setenv("PYTHONPATH", str(ROOT))
        inherited.setenv("OMP_NUM_THREADS", "1")
        inherited.setenv("RAY_TMPDIR", ray_folder)  # where the cluster notes its address, too
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the workers: what is trained here is compared with what they train
        cluster = Cluster()
        yield cluster
        cluster.shutdown()
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def head(cluster) -> Iterator[Joined]:
    """A Ray of one node with two CPUs."""
    with closing(Joined(cluster, num_cpus=2)) as joined:
        yield joined


@pytest.fixture
def tally(record_property) -> Tally:
    """Counts what a test does to a campaign, and what is left of it."""
    return Tally(record_property)


def pytest_terminal_summary(terminalreporter):
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    if lines := summary(found for report in reports for found in report.user_properties):
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
