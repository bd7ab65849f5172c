"""Decoded image sets on disk: decoded once, then memory-mapped by every process of the machine."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch

from tuner.datasets.image_set import ImageSet

logger = logging.getLogger(__name__)

PARTS = ("images", "labels")


def cache_root() -> Path:
    """$REGTUNE_CACHE, else regtune/ under $XDG_CACHE_HOME, else ~/.cache/regtune."""
    if own := os.environ.get("REGTUNE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regtune"


def cached(key: str, about: dict, decode: Callable[[], ImageSet]) -> ImageSet:
    """The image set `key` stands for, from the cache; on the first call decoded into it.

    Processes that start together may all decode: the first to finish is read by all. Sizes are verified at each
    reading, and what is incomplete or wrong is decoded anew; the checksum is written beside the arrays (with `about`,
    any facts worth reading there) and not verified at reading: a campaign hashes the pixels it really reads.
    A cache that cannot be written costs a warning and memory, never the run.
    """
    folder = cache_root() / key
    if (found := _read(folder)) is not None:
        return found
    decoded = decode()
    try:
        _publish(decoded, about, folder)
    except OSError as fault:
        logger.warning("Cannot write the cache %s (%s): this process keeps the images in memory.", folder, fault)
    found = _read(folder)
    return decoded if found is None else found


def _read(folder: Path) -> ImageSet | None:
    """The image set in `folder`, its images memory-mapped; None where it is missing, incomplete or wrong."""
    try:
        about = json.loads((folder / "meta.json").read_text())
        # Mode "c" maps copy-on-write: pages are shared and the file cannot be changed, yet torch sees an array that it
        # may write to and does not warn. A file shorter than its header says does not map.
        arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="c") for part in PARTS}
        shapes = {part: list(array.shape) for part, array in arrays.items()}
        if shapes != about["shapes"]:
            return None
        return ImageSet(*(torch.from_numpy(arrays[part]) for part in PARTS))
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return None


def _publish(image_set: ImageSet, about: dict, folder: Path) -> None:
    """Writes a whole set beside `folder` and renames it into place, so that no reader ever sees half of one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f"{folder.name}.{uuid4().hex}")
    temporary.mkdir()
    try:
        arrays = dict(zip(PARTS, (image_set.images.numpy(), image_set.labels.numpy()), strict=True))
        for part, array in arrays.items():
            with open(temporary / f"{part}.npy", "wb") as file:
                np.save(file, array)
                _flush(file)
        shapes = {part: array.shape for part, array in arrays.items()}
        with open(temporary / "meta.json", "w") as file:
            json.dump({**about, "shapes": shapes, "sha256": image_set.digest()}, file, indent=1)
            _flush(file)
        if folder.exists() and _read(folder) is None:
            logger.warning("The cache %s was incomplete or wrong: its images have been decoded anew.", folder)
            # Should another process publish between this line and the last, its set goes and ours, the same, comes.
            shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(temporary, folder)
        except OSError:
            if _read(folder) is None:
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush(file) -> None:
    file.flush()
    os.fsync(file.fileno())
