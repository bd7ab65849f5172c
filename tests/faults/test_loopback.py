"""Nobody but this machine's user reaches what a run starts: its sockets, its token, and the MLflow that it suggests."""

import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tuner.campaign.folder import Folder
from tuner.tracking.address import server_of, sqlite_uri, ui_command

ROOT = Path(__file__).parents[2]

SESSION = """
import sys
from tuner.search.session import ray_session
import ray
with ray_session():
    ray.get(ray.remote(lambda: None).remote())
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.readline()
"""

CLIENT = """
import sys
import tuner.search
import ray
ray.init(address=sys.argv[1], log_to_driver=False)
print(ray.get(ray.remote(lambda: "inside").remote()))
"""


def environment(folder: Path, **changed: str) -> dict[str, str]:
    """Without tokens or addresses, and with a home that holds none."""
    inherited = {name: value for name, value in os.environ.items() if not re.match("RAY_(AUTH|ADDRESS|TMPDIR)", name)}
    return {**inherited, "HOME": str(folder), "RAY_TMPDIR": str(folder), **changed}


@contextmanager
def session(folder: Path, **changed: str):
    """A running session of its own: its address and its processes."""
    folder.mkdir()
    command = [sys.executable, "-c", SESSION]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen(command, env=environment(folder, **changed), **pipes) as process:
        try:
            address = process.stdout.readline().strip()
            assert address, "the session did not start"
            yield address, processes_of(folder)
        finally:
            process.communicate("\n", timeout=60)


def processes_of(folder: Path) -> list[int]:
    """The processes that were told to keep Ray's files there."""
    mark = f"RAY_TMPDIR={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def token_of(process: int) -> str:
    try:
        variables = Path(f"/proc/{process}/environ").read_text().split("\0")
    except OSError:  # it has ended
        return ""
    return next((value for name, _, value in (v.partition("=") for v in variables) if name == "RAY_AUTH_TOKEN"), "")


def listening_of(processes: list[int]) -> list[str]:
    """The addresses on which these processes listen."""
    inodes = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(descriptor)))
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                words = re.findall(".{8}", fields[1].partition(":")[0])
                found.append(ip_address(b"".join(bytes.fromhex(word)[::-1] for word in words)))
    return found


def is_loopback(address) -> bool:
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def join(address: str, folder: Path, **changed: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CLIENT, address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen(command, env=environment(folder, **changed), **pipes)


@pytest.fixture(scope="module")
def sessions(ray_folder):
    """Two at once: as it is, and of a user with a token of his own."""
    with ExitStack() as stack:
        plain = stack.enter_context(session(Path(ray_folder) / "a"))
        yield plain, stack.enter_context(session(Path(ray_folder) / "b", RAY_AUTH_TOKEN="the user's own, as it is"))


def test_every_socket_of_a_session_listens_on_the_loopback_address_alone(sessions):
    for address, processes in sessions:
        listening = listening_of(processes)
        assert len(listening) >= 4  # of the store, the raylet, a worker and the driver
        assert [str(found) for found in listening if not is_loopback(found)] == []
        assert address.startswith("127.0.0.1:")


def test_only_who_has_the_token_gets_in(sessions, tmp_path):
    address, processes = sessions[0]
    [token] = {found for process in processes if (found := token_of(process))}
    offers = {
        "the token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        "another one": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token[::-1]},
        "none": {},
    }
    clients = {offer: join(address, tmp_path, **changed) for offer, changed in offers.items()}
    outcomes = {offer: (*client.communicate(timeout=120), client.returncode) for offer, client in clients.items()}
    assert outcomes["the token"][0] == "inside\n", outcomes
    for offer in ("another one", "none"):
        output, complaint, code = outcomes[offer]
        assert (output, code) == ("", 1)
        assert "InvalidAuthToken" in complaint


def test_the_token_is_fresh_for_each_session_in_no_file_and_the_users_own_stays(sessions, ray_folder):
    (_, ours), (_, theirs) = sessions
    [token] = {found for process in ours if (found := token_of(process))}
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert {token_of(process) for process in theirs} - {""} == {"the user's own, as it is"}
    files = [path for path in (Path(ray_folder) / "a").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_a_second_session_of_a_process_has_a_token_of_its_own_and_leaves_none(ray_folder):
    code = """
import os
from tuner.search.session import ray_session
import ray
for _ in range(2):
    with ray_session():
        print(ray.get(ray.remote(lambda: os.environ["RAY_AUTH_TOKEN"]).remote()))
    assert "RAY_AUTH_TOKEN" not in os.environ
"""
    folder = Path(ray_folder) / "c"
    folder.mkdir()
    command = [sys.executable, "-c", code]
    outcome = subprocess.run(command, env=environment(folder), capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    assert len(set(re.findall("[0-9a-f]{64}", outcome.stdout))) == 2
    assert not (folder / ".ray").exists()  # where Ray would keep one for ever


@pytest.mark.parametrize("uri", [None, "postgresql://db/mlflow"])
def test_the_printed_mlflow_binds_to_the_loopback_address(tmp_path, uri):
    import mlflow.cli

    uri = uri or sqlite_uri(Folder(tmp_path / "two").root / "mlflow.db")
    assert "host" not in ui_command(uri)
    assert server_of(uri) == "http://127.0.0.1:5000"
    [host] = [option for option in mlflow.cli.cli.get_command(None, "ui").params if option.name == "host"]
    assert host.default == "127.0.0.1"
