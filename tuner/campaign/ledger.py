"""The ledger: an append-only file of facts, one JSON object a line, each with its own checksum.

The driver alone writes it, and every line is on the disk before the effect it announces. Everything else (studies,
rungs, what is left to run, MLflow, the report) is folded from these lines.
"""

import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuner.campaign.lock import AppendError, LedgerError, Lock

FORMAT = 2

Record = dict[str, Any]
Listener = Callable[[Record], None]

_CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"}\Z')


class DamagedLine(LedgerError):
    """A line does not hold what was written, and more lines follow it. `number` counts from 1; `offset` is in bytes."""

    def __init__(self, path: Path, offset: int):
        with path.open("rb") as file:
            self.number = file.read(offset).count(b"\n") + 1
        self.offset = offset
        super().__init__(
            f"{path}: line {self.number} is damaged (its checksum does not hold) and is not the last one. Nothing was "
            "changed. Restore the file from a copy, or run the campaign with --repair: that keeps a copy, cuts the "
            "ledger off before this line, and runs again what was recorded from there on."
        )


def encode(record: Record) -> bytes:
    """One line, newline included. NaN and infinities are refused: JSON has none, and no reader should meet one."""
    body = json.dumps(record, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode(line: bytes) -> Record | None:
    """The record of one line without its newline, or None where the line is damaged."""
    checksum = _CHECKSUM.search(line)
    if checksum is None:
        return None
    body = line[: checksum.start()] + b"}"
    if zlib.crc32(body) != int(checksum[1], 16):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # a checksum keeps out accidents, not a line that somebody made up
        return None


def read(path: Path, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Records from `offset` (bytes) on, each with the offset behind it; stops before a tail still being written.

    Raises:
        DamagedLine: a damaged line that is not the last one.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # and not to be looked behind: the writer may have gone on since
            record = decode(line[:-1])
            if record is None:
                if file.read(1):
                    raise DamagedLine(path, offset)
                return
            offset += len(line)
            yield record, offset


class Ledger:
    """The one writer. Opening cuts off a torn last line.

    Args:
        path: the file; made if it is not there.
        lock: on this file, and given back with it; without one it is taken here.
    Raises:
        LedgerError: another process writes it, or a line in the middle is damaged.
    """

    def __init__(self, path: Path, lock: Lock | None = None):
        self.path = path
        self.repaired_bytes = 0
        self.failure: AppendError | None = None
        """Why nothing can be recorded any more."""
        self._listeners: list[Listener] = []
        self._lock = lock or Lock(path)
        self._file = path.open("ab", buffering=0)
        try:
            with self._lock.held():
                self.records = self._load()
                _sync_name(path)
        except LedgerError:
            self.close()
            raise

    def _load(self) -> list[Record]:
        lines = list(read(self.path))
        self._end = lines[-1][1] if lines else 0
        self.repaired_bytes = self.path.stat().st_size - self._end
        if self.repaired_bytes:
            self._file.truncate(self._end)
            os.fsync(self._file.fileno())
        return [record for record, _ in lines]

    @property
    def ours(self) -> bool:
        """Whether this process may still write; another one may have taken the ledger over."""
        return self._lock.ours

    def listen(self, listener: Listener) -> None:
        """Calls `listener(record)` for each record from now on, once it is on the disk and as it stands there."""
        self._listeners.append(listener)

    def append(self, *records: Record) -> None:
        """Writes the records with the time, forces them to the disk, then tells the listeners.

        Raises:
            AppendError: the disk is full, or this process is no longer the one that writes; so it is from then on.
        """
        if self.failure:
            raise self.failure
        now = time.time()
        lines = [encode({**record, "time": now}) for record in records]
        try:
            with self._lock.held():
                self._write(b"".join(lines))
        except AppendError as failure:
            self.failure = failure
            raise
        # JSON makes lists of tuples: whoever listens has what a reader has, and a resumed campaign.
        for record in (decode(line[:-1]) for line in lines):
            for listener in self._listeners:
                listener(record)

    def _write(self, content: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if size != self._end:
            raise AppendError(
                f"{self.path} has {size:,} bytes, but this run left it at {self._end:,}: another process changed it. "
                "This run stops here, and the same command goes on with what the file holds."
            )
        try:
            written = 0
            while written < len(content):
                written += self._file.write(content[written:])
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            free = shutil.disk_usage(self.path.parent).free
            raise AppendError(
                f"{self.path} cannot be written: {error.strerror} ({len(content):,} bytes to write, {free:,} bytes "
                "free). This run stops here: all that it recorded is kept, and the same command goes on with it."
            ) from error
        self._end += len(content)

    def close(self) -> None:
        """Gives the lock back."""
        self._file.close()
        self._lock.close()

    def __getstate__(self):
        # Ray pickles the searcher and the scheduler into files that are never read: the ledger stays out of them.
        return {"path": self.path}


def _sync_name(path: Path) -> None:
    """Forces to the disk that there is a file of this name."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
