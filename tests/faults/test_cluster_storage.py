"""A cluster that cannot keep or run a campaign is refused before the first trial, with the node and the remedy."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.joined import ROOT, Joined, wait_until
from tests.faults.test_workers import campaign_in, records_of
from tests.search.simulated import FACTS
from tests.search.test_tune_cli import CONTENT
from tuner.campaign import reading
from tuner.campaign.faults import DocumentError
from tuner.campaign.settings import Resources
from tuner.campaign.storage import bytes_needed, check_storage
from tuner.search import nodes, session
from tuner.search.shared_storage import check_nodes

NODE = """
import sys
from ray._private.node import Node
from ray._private.parameter import RayParams
parameters = RayParams(gcs_address=sys.argv[1], num_cpus=1, object_store_memory=100_000_000, include_log_monitor=False)
parameters.update_if_absent(min_worker_port=0, max_worker_port=0, node_manager_port=0)
node = Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=True)
sys.stdin.readline()
"""
"""A node in a process of its own. `ray start` has none that listens on the loopback address."""

BLIND = """
mount --make-rprivate /
mount -t tmpfs none "$1"
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def pair(cluster) -> Joined:
    """A Ray of two nodes that both see everything."""
    joined = Joined(cluster, num_cpus=2)
    joined.add_node(num_cpus=1)
    return joined


@contextmanager
def a_node_more(address: str, number: int, *before: str, **environment: str):
    """One node more, so that there are `number`; `before` is put before its command."""
    command = [*before, sys.executable, "-c", NODE, address]
    inherited = {**os.environ, **environment}
    with subprocess.Popen(command, env=inherited, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as node:
        try:
            wait_until(lambda: len(nodes.alive()) == number or node.poll() is not None)
            if node.poll() is not None:
                pytest.skip(f"no such node here: {node.stderr.read()}")
            yield
        finally:
            node.communicate("\n", timeout=60)
    wait_until(lambda: len(nodes.alive()) == number - 1)


def document(storage, **changed):
    return reading.check({**CONTENT, "storage": str(storage), **changed}, "two.yaml")


def refusal(check, *arguments) -> str:
    with pytest.raises(DocumentError) as refused:
        check(*arguments)
    return str(refused.value)


def test_every_node_is_asked_and_nothing_stays_behind(tmp_path, pair):
    here = document(tmp_path)
    check_storage(here, FACTS, "two.yaml", shared=True)
    with session.ray_session(pair.address):
        assert len(nodes.alive()) == 2
        check_nodes(here, FACTS, "two.yaml")
    assert list(here.folder.iterdir()) == []


def test_a_node_that_does_not_see_the_folder_is_named_and_no_trial_starts(tmp_path, pair):
    (tmp_path / "there").mkdir()
    campaign = campaign_in(tmp_path / "there", "none")
    blind = ("unshare", "-m", "sh", "-ec", BLIND, "sh", str(tmp_path / "there"))
    with session.ray_session(pair.address), a_node_more(pair.address, 3, *blind):
        command = ("tune.py", "run", str(campaign), "--address", pair.address)
        with pair.command(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            output, complaint = process.communicate(timeout=240)
    assert process.returncode == 2, output + complaint
    [sentence] = [line for line in complaint.splitlines() if "storage" in line]
    assert f"cannot use {tmp_path}/there/killed, which this machine has just made" in sentence
    assert "No such file or directory" in sentence
    assert "Mount the same file system there" in sentence
    assert os.uname().nodename in sentence
    assert [record["kind"] for record in records_of(tmp_path / "there")] == ["opened"]


def test_a_node_that_cannot_import_the_code_is_named(tmp_path, pair):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError('No module named torch')\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    here = document(tmp_path)
    here.folder.mkdir()
    with session.ray_session(pair.address), a_node_more(pair.address, 3, PYTHONPATH=str(tmp_path)):
        sentence = refusal(check_nodes, here, FACTS, "two.yaml")
    assert "cannot import this code: ModuleNotFoundError: No module named torch" in sentence
    assert "ray job submit --working-dir ." in sentence
    assert len(sentence.splitlines()) == 1


def test_too_little_room_as_a_node_sees_it(tmp_path, pair, monkeypatch):
    here = document(tmp_path)
    here.folder.mkdir()
    monkeypatch.setattr("tuner.search.shared_storage.bytes_to_come", lambda *_: 10**18)
    with session.ray_session(pair.address):
        sentence = refusal(check_nodes, here, FACTS, "two.yaml")
    assert len(sentence.splitlines()) == 2
    assert "the campaign needs up to 1,000,000,000,000.0 MB" in sentence


@pytest.mark.parametrize(
    ("storage", "reason"),
    [
        ("runs", '"runs" is relative, and every node of a cluster would take it for a folder of its own. Write an'),
        (ROOT / "runs", "lies within the code's folder"),
    ],
)
def test_a_folder_that_cannot_be_shared(storage, reason):
    assert reason in refusal(check_storage, document(storage), FACTS, "two.yaml", True)
    assert not (ROOT / "runs" / "two").exists()


def test_a_link_into_the_codes_folder_is_no_way_around(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    assert "lies within the code's folder" in refusal(
        check_storage, document(tmp_path / "link" / "runs"), FACTS, "two.yaml", True
    )


def test_an_object_store_is_refused_with_the_reason():
    with pytest.raises(DocumentError, match="is an object store; a ledger is locked and forced to the disk"):
        document("s3://bucket/runs")


def test_the_need_follows_the_trials_at_once(tmp_path):
    one, two = (bytes_needed(document(tmp_path), FACTS, at_once) for at_once in (1, 2))
    assert one < two
    most = document(tmp_path, resources={"max_concurrent": 1})
    assert bytes_needed(most, FACTS, 2) == one


@pytest.mark.parametrize(
    ("asked", "has", "fit"),
    [
        ({"cpu": 1}, {"CPU": 3.0}, 3),
        ({"cpu": 2}, {"CPU": 3.0}, 1),
        ({"cpu": 0.1}, {"CPU": 0.3}, 3),  # of which 0.3 // 0.1 makes two
        ({"cpu": 4}, {"CPU": 3.0}, 0),
        ({"cpu": 1}, {}, 0),
        ({"cpu": 1, "gpu": 0.5}, {"CPU": 8.0, "GPU": 2.0}, 4),
        ({"cpu": 1, "gpu": 0.4}, {"CPU": 8.0, "GPU": 2.0}, 4),  # five would need a trial on two GPUs
        ({"cpu": 1, "gpu": 1}, {"CPU": 8.0}, 0),
        ({"cpu": 1, "custom": {"fast_disk": 2}}, {"CPU": 8.0, "fast_disk": 5.0}, 2),
        ({"cpu": 1, "custom": {"fast_disk": 2}}, {"CPU": 8.0}, 0),
    ],
)
def test_trials_that_a_node_holds(asked, has, fit):
    assert nodes.capacity(Resources(**asked), has) == fit


def test_trials_at_once_are_whole_ones_on_each_node(pair):
    with session.ray_session(pair.address):
        assert nodes.workers(Resources(cpu=1), "two.yaml") == 3
        assert nodes.workers(Resources(cpu=2), "two.yaml") == 1
        assert nodes.workers(Resources(cpu=1, max_concurrent=2), "two.yaml") == 2
        # Three CPUs there are, but on no node.
        sentence = refusal(nodes.workers, Resources(cpu=3), "two.yaml")
        without = refusal(nodes.workers, Resources(cpu=1, custom={"fast_disk": 1}), "two.yaml")
    assert "two.yaml: resources: a trial asks for 3 CPU, and no node has that: " in sentence
    assert all(f" has {cpus} CPU" in sentence for cpus in (1, 2))
    assert sentence.endswith("Ask for less, or start a node that has it.")
    assert "a trial asks for 1 CPU, 1 fast_disk" in without
    assert "has 2 CPU, 0 fast_disk" in without


def test_custom_resources_are_checked():
    with pytest.raises(DocumentError, match="cpu is no custom resource"):
        document("runs", resources={"custom": {"CPU": 1}})
    with pytest.raises(DocumentError, match=r"resources\.custom\.fast_disk"):
        document("runs", resources={"custom": {"fast_disk": 0}})


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("nowhere", "Invalid address format"),
        ("ray://127.0.0.1:10001", "is no address that a driver can join"),
        ("http://127.0.0.1:8265", "ray job submit"),
    ],
)
def test_an_address_where_no_ray_is(address, reason):
    with pytest.raises(DocumentError) as refused, session.ray_session(address):
        raise AssertionError("joined")
    assert str(refused.value).startswith("--address: ")
    assert reason in str(refused.value)


def test_ray_address_is_honoured(tmp_path, pair):
    campaign = campaign_in(tmp_path, "none", storage="runs")
    environment = {**os.environ, "RAY_ADDRESS": pair.address}
    command = [sys.executable, "tune.py", "run", campaign]
    outcome = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 2
    assert '"runs" is relative' in outcome.stderr
    assert not (Path(ROOT) / "runs" / "killed").exists()
