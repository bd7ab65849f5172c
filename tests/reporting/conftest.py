"""Campaigns as literal ledgers: what a driver would have written, line by line."""

from copy import deepcopy
from pathlib import Path

import pytest

from tuner.campaign import ledger
from tuner.campaign.document import Document
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import Ledger
from tuner.campaign.reading import check
from tuner.campaign.study import Study

CONTENT = {
    "name": "literal",
    "dataset": {"name": "digits"},
    "split": {"validation_per_class": 20},
    "model": {"name": "preactresnet18", "width": 8},
    "methods": ["none", "mixup", "cutmix"],
    "training": {"epochs": 4, "batch_size": 50, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "cosine"}},
    "search": {"trials": 3},
    "final": {"seeds": [0, 1, 2], "select": "last"},
    "tracking": {"uri": "https://someone:secret@example.org"},
}

FACTS = {
    "train_images": 200,
    "validation_images": 200,
    "classes": 10,
    "shape": [1, 8, 8],
    "data_digest": "d" * 64,
    "train_digest": "a" * 64,
    "validation_digest": "b" * 64,
}

OUT_OF_MEMORY = {"class": "OutOfMemoryError", "message": "no | memory [bold] <script>alert(1)</script>\nsecond line"}


class Book:
    """Writes one campaign's ledger."""

    def __init__(self, storage: Path, **changes):
        content = deepcopy(CONTENT) | {"storage": str(storage)}
        for key, value in changes.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) and key in content else value
        self.document: Document = check(content, "literal.yaml")
        self.folder = Folder(self.document.folder)
        self.ledger = Ledger(self.folder.ledger)
        self.ledger.append(
            {
                "kind": "opened",
                "format": ledger.FORMAT,
                "document": self.document.as_yaml(),
                "facts": FACTS,
                "versions": {"python": "3.11.9", "torch": "2.15.0"},
                "commit": "c" * 40,
            }
        )

    @property
    def state(self) -> State:
        return State.of(record for record, _ in ledger.read(self.folder.ledger))

    def suggest(self, trial, method, kind, number, seed, params, replicate=0) -> None:
        line = {"kind": "suggested", "trial": trial, "method": method, "replicate": replicate, "trial_kind": kind}
        self.ledger.append({**line, "number": number, "seed": seed, "params": params, "attributes": {}})

    def rows(self, trial, errors, decisions=(), **last) -> None:
        """One row an epoch of 2 s; `last` joins the row of the last epoch."""
        for epoch, error in enumerate(errors, start=1):
            row = {"epoch": epoch, "lr": 0.01, "train_loss": 1.0, "val_error": error, "val_nll": 3 * error}
            row |= {"val_ece": 0.02, "seconds": 2.0, **(last if epoch == len(errors) else {})}
            end = "complete" if epoch == self.document.training.epochs else "continue"
            decision = dict(decisions).get(epoch, end)
            self.ledger.append({"kind": "result", "trial": trial, "row": row, "decision": decision})

    def end(self, trial, status, error=None) -> None:
        self.ledger.append({"kind": "ended", "trial": trial, "status": status, **({"error": error} if error else {})})

    def search(
        self, method, number, errors, status="completed", pruned_at=None, error=None, replicate=0, **params
    ) -> None:
        """A search trial; trial 0 is the paper's setting, as are the parameters that are not given."""
        trial, setting = f"{Study(method, replicate).name}-{number:03d}", self.document.paper_setting(method)
        self.suggest(trial, method, "search", number, 1000 + number, {**setting, **params}, replicate)
        decision = {pruned_at: "audit" if status == "audited" else "stop"} if pruned_at else {}
        self.rows(trial, errors, decision)
        self.end(trial, status, error)

    def final(self, method, number, seed, test_error, val_errors=(0.5, 0.3, 0.2, 0.1), replicate=0) -> None:
        study = Study(method, replicate).name
        trial, params = f"{study}-final-{number:03d}-seed{seed}", self.state.trials[f"{study}-{number:03d}"].params
        self.suggest(trial, method, "final", number, seed, params, replicate)
        self.rows(trial, val_errors, test_error=test_error, test_nll=2 * test_error, test_ece=0.01)
        self.end(trial, "completed")


@pytest.fixture
def book(tmp_path):
    """Makes empty campaigns: `book(search={"trials": 2})` changes the document."""
    books = []

    def make(**changes) -> Book:
        books.append(Book(tmp_path / "runs", **changes))
        return books[-1]

    yield make
    for made in books:
        made.ledger.close()


@pytest.fixture
def finished(book) -> Book:
    """Three methods, three search trials and three seeds each; one trial failed, one was audited."""
    made = book()
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    made.search("none", 1, [0.6], "stopped", pruned_at=1, lr=0.5)
    made.search("none", 2, [0.5, 0.4], "failed", error=OUT_OF_MEMORY, lr=0.2)
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.08])
    made.search("mixup", 1, [0.4, 0.3, 0.2, 0.06], alpha=0.4)
    made.search("mixup", 2, [0.7, 0.5, 0.1, 0.05], "audited", pruned_at=1, alpha=2.0)
    made.search("cutmix", 0, [0.5, 0.3, 0.2, 0.07])
    made.search("cutmix", 1, [0.4, 0.3, 0.2, 0.05], cutmix_prob=0.75)
    made.search("cutmix", 2, [0.4, 0.4], "stopped", pruned_at=2)
    for method, number, errors in [
        ("none", 0, (0.10, 0.12, 0.11)),
        ("mixup", 1, (0.06, 0.13, 0.08)),
        ("cutmix", 1, (0.05, 0.072, 0.061)),
    ]:
        for seed, error in enumerate(errors):
            made.final(method, number, seed, error, (0.4, 0.3, 0.2, error))
    return made


@pytest.fixture
def replicated(book) -> Book:
    """Two methods with two studies each, a search trial and two final seeds a study."""
    made = book(methods=["none", "mixup"], search={"trials": 1, "replicates": 2}, final={"seeds": [0, 1]})
    for method, best, errors in [
        ("none", (0.10, 0.20), ((0.10, 0.12), (0.20, 0.24))),
        ("mixup", (0.08, 0.16), ((0.07, 0.09), (0.16, 0.22))),
    ]:
        for replicate in (0, 1):
            made.search(method, 0, [0.5, 0.4, 0.3, best[replicate]], replicate=replicate)
            seeds = made.document.final_seeds(Study(method, replicate))
            for seed, error in zip(seeds, errors[replicate], strict=True):
                made.final(method, 0, seed, error, replicate=replicate)
    return made
