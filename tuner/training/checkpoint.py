"""Where a run puts itself down between two batches, so that a killed one goes on as if nothing had happened."""

import hashlib
import io
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KEPT = 2  # the newest one, and the one to fall back on if that is damaged

UNFINISHED = "unfinished.tmp"  # one name: what a killed run left is overwritten by the next save

log = logging.getLogger(__name__)


class SaveError(OSError):
    """A file cannot be written, for want of room most often: with its path, its size and the free space.

    What was saved before stays. It is the disk's fault and not the run's, which can go on once there is room.
    """


class Checkpoints:
    """The checkpoints of one run: written to `folder`; read from there and from `also`, folders of earlier attempts.

    A file is complete or not there at all: it is written under another name, forced to disk, then renamed. Its first
    line carries a checksum of the rest; a damaged file is passed over for the next older one, and nothing in it is ever
    executed. `passed_over` says which files were, and why: a run that goes on from an older one should tell.
    """

    def __init__(self, folder: Path | str, every_seconds: float = 60.0, also: Sequence[Path | str] = ()):
        self.folder = Path(folder)
        self.every_seconds = every_seconds
        self.also = [Path(earlier) for earlier in also]
        self.passed_over: list[str] = []
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether `every_seconds` have passed since the last save, or since the start."""
        return time.monotonic() - self._saved_at >= self.every_seconds

    def save(self, state: dict[str, Any], step: int) -> None:
        """Writes what `load` gives back: tensors, numbers and texts, in dicts and lists. `step` tells old from new.

        Raises:
            SaveError: it cannot be written.
        """
        payload = _serialised(state)
        _write_whole(self.folder / f"step-{step:012d}.ckpt", _header(payload) + payload)
        own = _newest_first([self.folder])
        # An earlier attempt's are needed as long as this one has too few of its own, and then take room for nothing.
        for outdated in own[KEPT:] + (_newest_first(self.also) if len(own) >= KEPT else []):
            outdated.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def load(self, run: str) -> dict[str, Any] | None:
        """The newest state that is intact and has `state["run"] == run`; None if there is none.

        Removes what a save that was killed left unfinished.
        """
        for folder in (self.folder, *self.also):
            (folder / UNFINISHED).unlink(missing_ok=True)
        for path in _newest_first([self.folder, *self.also]):
            try:
                state = _read(path)
                other = state["run"]
            except Exception as damage:  # whatever it is, an older one may be whole
                self._pass_over(f"{path} is damaged and passed over: {damage}")
                continue
            if other == run:
                return state
            self._pass_over(f"{path} is of another run and passed over: it is of {other}, this is {run}")
        return None

    def _pass_over(self, sentence: str) -> None:
        log.warning(sentence)
        self.passed_over.append(sentence)

    def save_weights(self, weights: dict[str, Tensor]) -> None:
        """Writes a finished run's selected weights to `weights.pt`, a plain state dict. Raises SaveError as `save`."""
        _write_whole(self.folder / "weights.pt", _serialised(weights))


def _newest_first(folders: Sequence[Path]) -> list[Path]:
    # By step and not by file time, which a copied folder does not keep.
    found = (path for folder in folders for path in folder.glob("step-*.ckpt"))
    return sorted(found, key=lambda path: path.name, reverse=True)


def _header(payload: bytes) -> bytes:
    return f"regtune checkpoint, sha256 {hashlib.sha256(payload).hexdigest()}\n".encode()


def _serialised(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _read(path: Path) -> dict[str, Any]:
    header, newline, payload = path.read_bytes().partition(b"\n")
    if header + newline != _header(payload):
        raise ValueError("its first line does not hold the checksum of the rest")
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _save_error(path, len(content), error) from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)


def _save_error(path: Path, size: int, error: OSError) -> SaveError:
    free = "an unknown number of"
    with suppress(OSError):  # a folder that is gone has neither a file to remove nor any room
        path.with_name(UNFINISHED).unlink(missing_ok=True)
        free = f"{shutil.disk_usage(path.parent).free:,}"
    reason = f"{error.strerror} ({size:,} bytes to write, {free} bytes free)"
    return SaveError(error.errno, reason, str(path))
