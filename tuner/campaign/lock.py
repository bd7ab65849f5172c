"""Who runs a campaign: a lock file beside its ledger, on one machine and on a folder that several machines share.

The file names its owner. It is written under another name and linked into place, so that of two processes one gets
there, on NFS as well. The owner renews it by touching it. Whether an owner lives is looked up where it runs on this
machine; elsewhere nobody's clock is trusted: an observer watches the file, and an owner that does not touch it for a
minute is taken for dead. One that only slept finds at its next record that the campaign is no longer its own.
"""

import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

RENEW_SECONDS = 10.0

STALE_SECONDS = 60.0
"""How long a lock of another machine is watched before its owner is taken for dead."""

LOOK_SECONDS = 1.0

Say = Callable[[str], None]
"""What tells the user a sentence."""


class LedgerError(Exception):
    """The ledger cannot be used as it stands; the message says what to do."""


class AppendError(LedgerError):
    """A running campaign cannot record any more and stops; all before is recorded, and nothing later."""


class Owner(BaseModel):
    """A process that holds a lock, as its file tells it. Nothing here is taken on trust but for the message."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int = Field(ge=1, lt=2**31)
    boot: str = Field(description="the kernel's boot id; this and the next two are empty where there is no /proc")
    namespace: str = Field(description="of process numbers: containers of one machine have one boot id")
    started: str = Field(description="when the process was, in clock ticks since the boot: its number may be reused")
    token: str = Field(description="random, of this one lock")
    taken: float = Field(ge=0, lt=2**33, description="seconds since the epoch, by the owner's clock")

    @classmethod
    def this_process(cls) -> "Owner":
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            boot=_boot_id(),
            namespace=_namespace(),
            started=_stat(os.getpid())[1],
            token=secrets.token_hex(8),
            taken=time.time(),
        )

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.taken).astimezone()
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S %Z}"

    @property
    def here(self) -> bool:
        """Whether its number means a process that can be looked up from this one."""
        kernel = (_boot_id(), _namespace())
        return (self.boot, self.namespace) == kernel and (bool(self.boot) or self.host == socket.gethostname())

    @property
    def dead(self) -> bool:
        """Whether that can be told at once: the process is gone, or this machine was started anew since."""
        if self.here:
            return not _runs(self.pid, self.started)
        return self.boot != _boot_id() and self.host == socket.gethostname()


class Lock:
    """The right to write one ledger; taking it is making this object.

    Args:
        ledger: the file; made if it is not there. The lock is the file `ledger.lock` beside it.
        take_over: take it from a living owner, too.
        say: is told whose place was taken, and what is waited for.
    Raises:
        LedgerError: another process has it, or the folder cannot be written.
    """

    def __init__(self, ledger: Path, take_over: bool = False, say: Say = lambda sentence: None):
        self.ledger = ledger
        self.path = ledger.with_suffix(".lock")
        owner = Owner.this_process()
        self._content = owner.model_dump_json().encode()
        candidate = self.path.with_name(f"{self.path.name}.{owner.token}")
        try:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as opened:
                self._guard = opened.enter_context(ledger.open("ab"))
                self._file = opened.enter_context(candidate.open("xb", buffering=0))
                try:
                    self._file.write(self._content)
                    os.fsync(self._file.fileno())
                    self._take(candidate, take_over, say)
                finally:
                    candidate.unlink(missing_ok=True)
                opened.pop_all()
        except OSError as error:
            raise LedgerError(f"{ledger} cannot be written: {error.strerror}. Choose another `storage`.") from None
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="ledger-lock", daemon=True)
        self._renewing.start()

    def _take(self, candidate: Path, take_over: bool, say: Say) -> None:
        silent = None
        while True:
            with _alone(self._guard):
                seen = _look(self.path)
                if seen is None:
                    if _link(candidate, self.path):
                        return
                    continue
                if vacancy := _vacancy(seen, seen == silent, take_over):
                    candidate.replace(self.path)
            if vacancy:
                say(vacancy)
                return
            if seen.owner is not None and seen.owner.here:
                raise self._refusal(seen.owner)
            say(f"{_name(seen.owner)} holds this campaign; watching for {STALE_SECONDS:g} s whether it is still there.")
            if _stays(self.path, seen):
                silent = seen
            elif now := _look(self.path):
                raise self._refusal(now.owner)

    def _refusal(self, owner: Owner | None) -> LedgerError:
        return LedgerError(
            f"{self.ledger} is being written by {_name(owner)}: this campaign already runs. Watch that run, or end it "
            "first; one campaign has one driver. With --take-over this command goes on with the campaign in its place, "
            "and the other run stops at its next record."
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """In here the lock is this process's, and no other one of this machine can take it.

        Raises:
            AppendError: another process took the lock, or somebody removed it.
        """
        with _alone(self._guard):
            if not self.ours:
                raise AppendError(self._loss())
            yield

    @property
    def ours(self) -> bool:
        """Whether the lock is still this process's."""
        seen = _look(self.path)
        return seen is not None and seen.content == self._content

    def _loss(self) -> str:
        if seen := _look(self.path):
            return (
                f"{self.ledger} was taken over by {_name(seen.owner)}, which goes on with the campaign. This run stops "
                "here: all that it recorded is kept."
            )
        return (
            f"{self.path} was removed, and without it another run could write the ledger too. This run stops here: all "
            "that it recorded is kept, and the same command goes on with it."
        )

    def close(self) -> None:
        """Gives the ledger back, unless another process has taken it over. May be called twice."""
        if self._guard.closed:
            return
        self._closing.set()
        self._renewing.join()
        with self._guard, self._file, _alone(self._guard):
            if self.ours:
                self.path.unlink()

    def _renew(self) -> None:
        while not self._closing.wait(RENEW_SECONDS):
            # By its descriptor: behind a take-over this is another file than the one under the lock's name.
            with suppress(OSError):  # whatever it is, the next record meets it
                os.utime(self._file.fileno())


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as somebody sees it who does not want it."""

    name: str
    lives: bool | None
    """None: it is on another machine, where it cannot be looked up."""
    silent_seconds: float
    """Since its last sign of life, as far as the clocks of the machines agree."""


def holder(ledger: Path) -> Holder | None:
    """Who runs the campaign of this ledger; None where nobody does."""
    seen = _look(ledger.with_suffix(".lock"))
    if seen is None:
        return None
    owner = seen.owner
    lives = False if owner and owner.dead else True if owner and owner.here else None
    return Holder(_name(owner), lives, max(0.0, time.time() - seen.renewed / 1e9))


@dataclass(frozen=True)
class _Sighting:
    """A lock file at one moment: equal to another one as long as nobody renews or replaces it."""

    content: bytes
    renewed: int

    @property
    def owner(self) -> Owner | None:
        """None where the file does not tell it."""
        try:
            return Owner.model_validate_json(self.content)
        except ValidationError:
            return None


def _look(path: Path) -> _Sighting | None:
    try:
        with path.open("rb") as file:  # NFS asks its server where a file is opened, not where it is stated
            return _Sighting(file.read(4096), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


def _link(candidate: Path, path: Path) -> bool:
    try:
        path.hardlink_to(candidate)
    except FileExistsError:
        return candidate.stat().st_nlink > 1  # NFS may carry out a request whose answer got lost, and repeat it
    return True


def _vacancy(seen: _Sighting, silent: bool, take_over: bool) -> str | None:
    """Why the lock may be replaced, or None."""
    name = _name(seen.owner)
    if seen.owner is not None and seen.owner.dead:
        return f"Its last run ({name}) was killed; this one goes on in its place."
    if silent:
        return f"{name} gave no sign of life for {STALE_SECONDS:g} s; this run goes on in its place."
    return f"Taken over from {name}, which stops at its next record." if take_over else None


def _stays(path: Path, seen: _Sighting) -> bool:
    """Whether the lock stays as it is while this process watches."""
    deadline = time.monotonic() + STALE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if _look(path) != seen:
            return False
    return True


@contextmanager
def _alone(guard: IO[bytes]) -> Iterator[None]:
    """One process of this machine at a time, and of all machines where the file system shares its locks.

    It closes the gap between looking at the lock and acting on it. Where there is no flock the gap stays, and the
    loser is found out at its next record.
    """
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(guard, fcntl.LOCK_UN)


def _name(owner: Owner | None) -> str:
    return str(owner) if owner else "an unknown process (its lock file is damaged)"


def _runs(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, of which /proc may show nothing
    state, since = _stat(pid)
    return since in (started, "") and state not in ("Z", "X")  # a zombie is dead, and only not yet missed


def _stat(pid: int) -> tuple[str, str]:
    """A process's state, and when it started in clock ticks since the boot; empty where /proc does not show it."""
    # The name stands in parentheses and may hold anything.
    fields = _proc(f"{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if fields else ("", "")


def _boot_id() -> str:
    return _proc("sys/kernel/random/boot_id").strip()


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _proc(name: str) -> str:
    try:
        return Path("/proc", name).read_text()
    except OSError:
        return ""
