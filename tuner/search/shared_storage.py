"""Whether every node of a cluster sees the folder that the driver sees: asked of each before the first trial."""

import importlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.folder import Folder
from tuner.campaign.preflight import Facts
from tuner.campaign.storage import bytes_to_come, megabytes
from tuner.search.nodes import alive, name_of, workers

ANSWER_SECONDS = 120.0
"""A node has so long to start a worker, which imports all that a trial needs."""


def check_nodes(document: Document, facts: Facts, file: str) -> None:
    """Has each node read what the driver wrote to the campaign's folder, and reads what each node writes.

    Args:
        document: the campaign's; its folder is there on this machine.
        facts: of its data.
        file: where the document came from.
    Raises:
        DocumentError: with every node that does not see the folder, has no room there, or cannot import the code.
    """
    folder = Folder(document.folder).root
    need = bytes_to_come(document, facts, workers(document.resources, file))
    question = folder / f".asked-{secrets.token_hex(8)}"
    token = secrets.token_hex(16)
    _write(question, token)
    try:
        faults = [
            Fault(file, *fault) for node, answer in _ask(question) for fault in _faults(node, answer, question, need)
        ]
    finally:
        for path in (question, *folder.glob(f"{question.name}-*")):
            path.unlink(missing_ok=True)
    if faults:
        raise DocumentError(faults)


def _ask(question: Path) -> list[tuple[dict[str, Any], Any]]:
    """Every node with its answer: a dictionary, or the exception that came instead."""
    # Without CPUs a task fits everywhere; where its node is gone, it fails at once.
    asked = {
        node["NodeID"]: _answer.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(question), node["NodeID"])
        for node in alive()
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS)
    return [(node, _outcome(asked[node["NodeID"]])) for node in alive() if node["NodeID"] in asked]


def _outcome(reference: ray.ObjectRef) -> Any:
    try:
        return ray.get(reference, timeout=0)
    except Exception as error:
        return error


@ray.remote(num_cpus=0, max_retries=0)
def _answer(question: str, node: str) -> dict[str, Any]:
    """On a node: what it reads, what it has free, and whether it can run a trial at all."""
    asked = Path(question)
    try:
        token = asked.read_text(encoding="utf-8")
        _write(asked.with_name(f"{asked.name}-{node}"), token + node)
        free = shutil.disk_usage(asked.parent).free
    except OSError as error:
        return {"obstacle": f"{error.strerror} ({error.filename})"}
    try:
        importlib.import_module("tuner.search.trainable")
    except Exception as error:  # whatever a broken installation comes up with
        return {"unimportable": f"{type(error).__name__}: {error}"}
    return {"token": token, "free": free}


def _reason(error: Exception) -> str:
    """The line of a worker's traceback that says what it was; Ray puts lines of its own around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in reversed(lines) if re.match(r"[\w.]*Error: ", line)), lines[-1])


def _write(path: Path, text: str) -> None:
    """As checkpoints are written: whole under another name first."""
    partial = path.with_name(f"{path.name}-partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _faults(node: dict[str, Any], answer: Any, question: Path, need: int) -> list[tuple[str, str]]:
    """(path, sentence) of what is wrong with a node."""
    name, folder = name_of(node), question.parent
    if isinstance(answer, ray.exceptions.GetTimeoutError):
        return [("storage", f"{name} did not answer within {ANSWER_SECONDS:g} s. End that node, or look at its logs.")]
    if isinstance(answer, Exception):
        answer = {"unimportable": _reason(answer)}
    if "unimportable" in answer:
        return [
            (
                "",
                f"{name} cannot import this code: {answer['unimportable']}. Have the same checkout and the same "
                "packages under the same path on every node, or send the code with `ray job submit --working-dir .`.",
            )
        ]
    if "obstacle" in answer:
        return [
            (
                "storage",
                f"{name} cannot use {folder}, which this machine has just made and written to: {answer['obstacle']}. "
                "Mount the same file system there under the same path, or choose a `storage` that every node sees.",
            )
        ]
    token = question.read_text(encoding="utf-8")
    written = question.with_name(f"{question.name}-{node['NodeID']}")
    read = written.read_text(encoding="utf-8") if written.exists() else None
    if (answer["token"], read) != (token, token + node["NodeID"]):
        return [("storage", f"what {name} writes to {folder} cannot be read here. Is it the same file system on both?")]
    if answer["free"] < need:
        return [
            (
                "storage",
                f"{name} has {megabytes(answer['free'])} free in {folder}, and the campaign needs up to "
                f"{megabytes(need)}. Make room, or choose another `storage`.",
            )
        ]
    return []
