"""The lock of a ledger, with real processes: who gets it, who is refused, and who finds out that it was taken."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner.campaign import lock as lock_module
from tuner.campaign.ledger import Ledger
from tuner.campaign.lock import AppendError, LedgerError, Lock, Owner

HOLDS_UNTIL_TOLD = """
import sys
from pathlib import Path
from tuner.campaign.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
lock.close()
"""


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "campaign" / "ledger.jsonl"


@pytest.fixture
def quick(monkeypatch):
    """A lock is stale after half a second."""
    monkeypatch.setattr(lock_module, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(lock_module, "LOOK_SECONDS", 0.02)


@contextmanager
def holder(ledger: Path):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDS_UNTIL_TOLD, str(ledger)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    with process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def written(ledger: Path, **changed) -> Path:
    """A lock file of this process, or of one that differs from it as told."""
    owner = Owner.this_process().model_copy(update=changed)
    path = ledger.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(owner.model_dump_json())
    return path


ELSEWHERE = {"host": "another", "boot": "of-another"}


def test_it_tells_its_owner_and_is_gone_when_given_back(ledger):
    lock = Lock(ledger)
    content = json.loads(lock.path.read_text())
    assert (content["host"], content["pid"]) == (socket.gethostname(), os.getpid())
    assert content["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    lock.close()
    lock.close()
    assert [path.name for path in ledger.parent.iterdir()] == ["ledger.jsonl"]


def test_a_living_owner_on_this_machine_is_told_and_what_to_do(ledger):
    with holder(ledger) as other:
        with pytest.raises(LedgerError, match=f"process {other.pid} on {socket.gethostname()}.*--take-over"):
            Lock(ledger)
        other.stdin.write("\n")
        other.stdin.close()
        assert other.wait(timeout=60) == 0
        Lock(ledger).close()
    assert {path.name for path in ledger.parent.iterdir()} == {"ledger.jsonl"}


def test_nobody_holds_it_twice(ledger):
    lock = Lock(ledger)
    with pytest.raises(LedgerError, match=f"process {os.getpid()} "):
        Lock(ledger)
    lock.close()


def test_a_killed_owner_on_this_machine_is_replaced_at_once_also_while_it_is_a_zombie(ledger):
    with holder(ledger) as other:
        os.kill(other.pid, signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
        said = []
        lock = Lock(ledger, say=said.append)
        assert [f"process {other.pid} " in sentence and "killed" in sentence for sentence in said] == [True]
        lock.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"started": "1"},  # its number was given to another process since
        {"boot": "before"},  # this machine was started anew since
        {"pid": 2**31 - 1},
    ],
)
def test_an_owner_that_cannot_live_any_more_is_replaced_at_once(ledger, changed):
    written(ledger, **changed)
    Lock(ledger).close()


def test_another_users_process_is_not_taken_for_dead(monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    hidden = Owner.this_process().model_copy(update={"pid": 2**31 - 1})  # /proc does not show it
    assert hidden.here
    assert not hidden.dead


@pytest.mark.parametrize("elsewhere", [ELSEWHERE, {"namespace": "pid:[1]"}], ids=["machine", "container"])
def test_a_silent_owner_elsewhere_is_replaced_after_a_while_whatever_the_clocks_say(ledger, quick, elsewhere):
    # Of a number that no process has here, and touched in the future, as by a clock that is ahead.
    path = written(ledger, **elsewhere, pid=2**31 - 1)
    os.utime(path, (2**32, 2**32))
    said = []
    lock = Lock(ledger, say=said.append)
    assert ["watching for 0.5 s" in said[0], "no sign of life" in said[1], len(said)] == [True, True, 2]
    assert lock.ours
    lock.close()


def test_an_owner_elsewhere_that_renews_is_refused_as_soon_as_it_does(ledger, monkeypatch):
    monkeypatch.setattr(lock_module, "LOOK_SECONDS", 0.02)  # but it may be watched for a minute
    path = written(ledger, **ELSEWHERE, pid=77)
    watching, ended = threading.Event(), threading.Event()

    def renew():
        watching.wait()
        while not ended.wait(0.01):
            os.utime(path)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        with pytest.raises(LedgerError, match="process 77 on another"):
            Lock(ledger, say=lambda _: watching.set())
    finally:
        ended.set()
        renewing.join()
    assert json.loads(path.read_text())["pid"] == 77


def test_an_owner_elsewhere_that_gives_it_back_is_followed_at_once(ledger, monkeypatch):
    monkeypatch.setattr(lock_module, "LOOK_SECONDS", 0.02)
    path = written(ledger, **ELSEWHERE)
    Lock(ledger, say=lambda _: path.unlink()).close()


def test_a_damaged_lock_file_is_watched_like_one_of_another_machine(ledger, quick):
    written(ledger).write_bytes(b"\x00" * 100)
    said = []
    Lock(ledger, say=said.append).close()
    assert "an unknown process" in said[0]


def test_it_is_renewed_by_its_owner(ledger, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    lock = Lock(ledger)
    os.utime(lock.path, (1, 1))
    while lock.path.stat().st_mtime == 1:
        assert lock._renewing.is_alive()
    lock.close()


def test_who_was_taken_over_renews_its_own_file_and_not_its_successors(ledger, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    first = Lock(ledger)
    successor = first.path.with_name("successor")
    successor.write_text("another owner")
    successor.replace(first.path)
    os.utime(first.path, (1, 1))
    os.utime(first._file.fileno(), (1, 1))
    while os.fstat(first._file.fileno()).st_mtime == 1:
        assert first._renewing.is_alive()
    assert first.path.stat().st_mtime == 1
    first.close()
    assert first.path.exists()


def test_who_was_taken_over_writes_nothing_more_and_says_by_whom(ledger, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    said = []
    first = Ledger(ledger)
    first.append({"kind": "note", "number": 0})
    second = Ledger(ledger, Lock(ledger, take_over=True, say=said.append))
    assert [f"Taken over from process {os.getpid()} " in sentence for sentence in said] == [True]
    assert [record["number"] for record in second.records] == [0]
    assert (first.ours, second.ours) == (False, True)
    heard = []
    first.listen(heard.append)
    for _ in range(2):
        with pytest.raises(AppendError, match=f"was taken over by process {os.getpid()} on"):
            first.append({"kind": "note", "number": 1})
    second.append({"kind": "note", "number": 2})
    first.close()  # which leaves the lock to its new owner
    second.append({"kind": "note", "number": 3})
    second.close()
    again = Ledger(ledger)
    again.close()
    assert [record["number"] for record in again.records] == [0, 2, 3]
    assert heard == []


def test_a_lock_that_somebody_removed_stops_its_owner(ledger):
    book = Ledger(ledger)
    ledger.with_suffix(".lock").unlink()
    with pytest.raises(AppendError, match="was removed"):
        book.append({"kind": "note"})
    book.close()
    assert ledger.read_bytes() == b""


RACE = """
import sys
from pathlib import Path
from tuner.campaign.ledger import Ledger
from tuner.campaign.lock import LedgerError
print("ready", flush=True)
sys.stdin.readline()
try:
    book = Ledger(Path(sys.argv[1]))
except LedgerError:
    print("refused", flush=True)
else:
    book.append({"kind": "note"})
    print("held", flush=True)
    sys.stdin.readline()
    book.append({"kind": "note"})
    book.close()
"""


@pytest.mark.parametrize("left_behind", [False, True], ids=["free", "of-a-dead-owner"])
def test_of_many_that_try_at_once_one_gets_it(ledger, left_behind):
    if left_behind:
        written(ledger, started="1")
    many = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(ledger)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(4)
    ]
    try:
        assert [process.stdout.readline() for process in many] == ["ready\n"] * 4
        for process in many:
            process.stdin.write("\n")
            process.stdin.flush()
        assert sorted(process.stdout.readline() for process in many) == ["held\n", *["refused\n"] * 3]
        for process in many:
            process.communicate("\n", timeout=60)
        assert [process.returncode for process in many] == [0] * 4
    finally:
        for process in many:
            process.kill()
            process.wait()
    assert len(ledger.read_bytes().splitlines()) == 2
    assert {path.name for path in ledger.parent.iterdir()} == {"ledger.jsonl"}
