"""Whether a campaign can be kept where its document says: tried out before anything is started."""

import os
import shutil
from pathlib import Path

import torch

from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.folder import Folder
from tuner.campaign.preflight import Facts
from tuner.training.checkpoint import KEPT

REMEDY = "Choose another `storage`, or make this one writable."

PROBED = b"Does this folder keep what is written to it?"


CODE = Path(__file__).parents[2]


def check_storage(document: Document, facts: Facts, file: str, shared: bool = False) -> None:
    """Writes a file to the campaign's folder and reads it back, and compares the free space with the need.

    Args:
        document: the campaign's; its folder is made if it is not there, and there is room.
        facts: of its data.
        file: where the document came from.
        shared: whether other machines have to see the folder, too. That they do is for them to tell.
    Raises:
        DocumentError: the folder cannot be written, is too small, or has lost its ledger; nothing was started.
    """
    folder = Folder(document.folder)
    if shared:
        _refuse_private(document, file)
    try:
        if obstacle := _obstacle(folder.root):
            raise DocumentError([_fault(file, f"{obstacle} lies where a folder has to be, and is none. {REMEDY}")])
        if not folder.ledger.exists() and folder.trials.is_dir() and any(folder.trials.iterdir()):
            sentence = (
                f"{folder.trials} holds trials, but their ledger, {folder.ledger}, is gone. To begin anew would lose "
                "what they found without a word. Restore the ledger from a copy, or remove the folder."
            )
            raise DocumentError([_fault(file, sentence)])
        need = bytes_to_come(document, facts, 1 if shared else _at_once(document))
        free = shutil.disk_usage(_nearest(folder.root)).free
        if free < need:
            sentence = (
                f"{folder.root} has {megabytes(free)} free, and the campaign needs up to {megabytes(need)} for its "
                "checkpoints and final weights. Make room, choose another `storage`, or run fewer trials at once "
                "(resources.max_concurrent)."
            )
            raise DocumentError([_fault(file, sentence)])
        _try_out(folder.root)
    except OSError as error:
        sentence = f"{error.filename or folder.root} cannot be used: {error.strerror}. {REMEDY}"
        raise DocumentError([_fault(file, sentence)]) from None


def _refuse_private(document: Document, file: str) -> None:
    """Raises DocumentError where the folder means another place on another machine, or goes with the code."""
    storage = Path(document.storage).expanduser()
    if not storage.is_absolute():
        sentence = (
            f'"{document.storage}" is relative, and every node of a cluster would take it for a folder of its own. '
            "Write an absolute folder that all of them see, such as /shared/runs."
        )
        raise DocumentError([_fault(file, sentence)])
    if storage.resolve().is_relative_to(CODE.resolve()):
        sentence = (
            f"{storage} lies within the code's folder, {CODE}, which is a copy of its own on every node and which a "
            "Ray job removes. Choose an absolute folder outside it that every node sees, such as /shared/runs."
        )
        raise DocumentError([_fault(file, sentence)])


def bytes_to_come(document: Document, facts: Facts, at_once: int) -> int:
    """What the campaign may still write, beyond what its folder holds."""
    held = sum(path.stat().st_size for path in Folder(document.folder).trials.rglob("*") if path.is_file())
    return max(0, bytes_needed(document, facts, at_once) - held)


def bytes_needed(document: Document, facts: Facts, at_once: int | None = None) -> int:
    """The most that checkpoints and final weights take at a time, by the numbers in them: the rest is little.

    Args:
        document: the campaign's.
        facts: of its data.
        at_once: trials at once where `resources.max_concurrent` does not say; those of this machine if not given.
    """
    training, final = document.training, document.final
    weights, velocities = _state_bytes(document, facts)
    selected = weights if final.select == "best_val" else 0
    checkpoint = weights + (velocities if training.momentum else 0) + selected
    kept = KEPT + 1  # the one that is being written
    finals = len(document.studies) * len(final.seeds)
    trials = sum(document.most_trials(study.method) for study in document.studies) + finals
    at_once = min(document.resources.max_concurrent or at_once or _at_once(document), trials)
    return at_once * kept * checkpoint + finals * weights


def _state_bytes(document: Document, facts: Facts) -> tuple[int, int]:
    """Of a net's state, and of its parameters alone."""
    channels, height, width = facts.shape
    with torch.device("meta"):  # no memory, no initialisation
        net = document.model.build(channels, facts.classes, min(height, width))
    return _bytes(net.state_dict().values()), _bytes(net.parameters())


def _bytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _at_once(document: Document) -> int:
    resources = document.resources
    fits = (os.cpu_count() or 1) / resources.cpu
    if resources.gpu:
        fits = min(fits, torch.cuda.device_count() / resources.gpu)
    return max(1, int(fits))


def _try_out(root: Path) -> None:
    """Does once what a ledger and a checkpoint need again and again."""
    root.mkdir(parents=True, exist_ok=True)
    written, renamed = (root / f".{stage}-{os.getpid()}" for stage in ("written", "renamed"))
    try:
        with written.open("wb") as file:
            file.write(PROBED)
            file.flush()
            os.fsync(file.fileno())
        written.replace(renamed)
        if renamed.read_bytes() != PROBED:
            raise OSError(None, "a file does not hold what was written to it", str(root))
    finally:
        for path in (written, renamed):
            path.unlink(missing_ok=True)


def _obstacle(root: Path) -> Path | None:
    """What lies in the way of this folder without being one."""
    nearest = _nearest(root)
    return None if nearest.is_dir() else nearest


def _nearest(root: Path) -> Path:
    """The folder itself, or the first above it that is there."""
    return next(path for path in (root, *root.parents) if os.path.lexists(path))


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _fault(file: str, sentence: str) -> Fault:
    return Fault(file, "storage", sentence)
