"""The ledger: an append-only file of facts, one JSON object a line, each with its own checksum.

The driver alone writes it, and every line is on the disk before the effect it announces. Everything else (studies,
rungs, what is left to run, MLflow, the report) is folded from these lines.
"""

import fcntl
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FORMAT = 1

Record = dict[str, Any]
Listener = Callable[[Record], None]

_CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"}$')


class LedgerError(Exception):
    """The ledger cannot be used as it stands; the message says what to do."""


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
    return json.loads(body) if zlib.crc32(body) == int(checksum[1], 16) else None


def read(path: Path, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Records from `offset` (bytes) on, each with the offset behind it; stops before a tail still being written.

    Raises:
        LedgerError: a damaged line that is not the last one, with its number.
    """
    start = offset
    with path.open("rb") as file:
        file.seek(offset)
        for number, line in enumerate(file, start=1):
            record = decode(line[:-1]) if line.endswith(b"\n") else None
            if record is None:
                if file.read(1):
                    where = f"line {number}" if start == 0 else f"line {number} after byte {start}"
                    raise LedgerError(
                        f"{path}: {where} is damaged (its checksum does not hold) and is not the last one. "
                        "Nothing was changed. Restore the file from a copy, or move its folder away and start anew."
                    )
                return
            offset += len(line)
            yield record, offset


class Ledger:
    """The one writer. Opening takes a lock that dies with this process, and cuts off a torn last line.

    Args:
        path: the file; made if it is not there.
    Raises:
        LedgerError: another process writes it, or a line in the middle is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self.repaired_bytes = 0
        self._listeners: list[Listener] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise LedgerError(f"{path} cannot be written: {error.strerror}. Choose another `storage`.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise LedgerError(
                f"{path} is being written by another process: this campaign already runs. "
                "Watch that run, or end it first; one campaign has one driver."
            ) from None
        try:
            self.records = self._load()
        except LedgerError:
            self._file.close()
            raise

    def _load(self) -> list[Record]:
        lines = list(read(self.path))
        end = lines[-1][1] if lines else 0
        self.repaired_bytes = self.path.stat().st_size - end
        if self.repaired_bytes:
            self._file.truncate(end)
            os.fsync(self._file.fileno())
        return [record for record, _ in lines]

    def listen(self, listener: Listener) -> None:
        """Calls `listener(record)` for each record from now on, once it is on the disk."""
        self._listeners.append(listener)

    def append(self, *records: Record) -> None:
        """Writes the records with the time, forces them to the disk, then tells the listeners."""
        now = time.time()
        stamped = [{**record, "time": now} for record in records]
        self._file.write(b"".join(map(encode, stamped)))
        self._file.flush()
        os.fsync(self._file.fileno())
        for record in stamped:
            for listener in self._listeners:
                listener(record)

    def close(self) -> None:
        """Gives the lock back."""
        self._file.close()

    def __getstate__(self):
        # Ray pickles the searcher and the scheduler into files that are never read: the ledger stays out of them.
        return {"path": self.path}
