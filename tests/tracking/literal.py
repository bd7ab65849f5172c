"""A small campaign as a literal ledger: every record as a driver would write it, without any training."""

from contextlib import closing
from pathlib import Path

from tuner.campaign import ledger, reading
from tuner.campaign.document import Document
from tuner.campaign.folder import Folder
from tuner.campaign.study import Study

EPOCHS, SEEDS = 8, (0, 1)
DIGEST = "0123456789abcdef" * 4


def plan(storage: Path, **changes) -> Document:
    content = {
        "name": "small",
        "dataset": {"name": "digits"},
        "split": {"validation_per_class": 20, "seed": 0},
        "model": {"name": "preactresnet18", "width": 16},
        "methods": ["none", "cutmix"],
        "training": {
            "epochs": EPOCHS,
            "batch_size": 50,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": {"name": "constant"},
        },
        "search": {"trials": 3},
        "final": {"seeds": list(SEEDS)},
        "storage": str(storage),
    }
    return reading.check({**content, **changes}, "small.yaml")


def opened(plan: Document) -> dict:
    facts = {"train_images": 200, "validation_images": 200, "classes": 10, "shape": [1, 8, 8], "data_digest": DIGEST}
    facts |= {"train_digest": "t" * 64, "validation_digest": "v" * 64}
    return {
        "kind": "opened",
        "format": ledger.FORMAT,
        "document": plan.as_yaml(),
        "facts": facts,
        "versions": {"torch": "2.15.0"},
        "commit": "a" * 40 + "+",
    }


def suggested(trial: str, method: str, number: int, seed: int, kind: str = "search", replicate: int = 0) -> dict:
    params = {"lr": 0.1 / (number + 1), "weight_decay": 5e-4}
    if method == "cutmix":
        params |= {"alpha": 1.0, "cutmix_prob": 0.5, "layers": [0, 1, 2]}
    return {
        "kind": "suggested",
        "trial": trial,
        "method": method,
        "replicate": replicate,
        "trial_kind": kind,
        "number": number,
        "seed": seed,
        "params": params,
        "attributes": {},
    }


def result(trial: str, epoch: int, decision: str = "continue", error: float = 0.1, **columns) -> dict:
    row = {
        "epoch": epoch,
        "lr": 0.1,
        "train_loss": 2.0 / epoch,
        "val_error": error / epoch,
        "val_nll": error,
        "seconds": 0.5,
    }
    return {"kind": "result", "trial": trial, "row": {**row, "selected": None, **columns}, "decision": decision}


def search_trial(method: str, number: int, last: int, status: str, error: float, replicate: int = 0) -> list[dict]:
    trial = f"{Study(method, replicate).name}-{number:03d}"
    decision = {"completed": "complete", "stopped": "stop"}.get(status, "continue")
    begun = suggested(trial, method, number, 100 + number, replicate=replicate)
    records = [begun, {"kind": "attempt", "trial": trial, "attempt": 1}]
    records += [result(trial, epoch, decision if epoch == last else "continue", error) for epoch in range(1, last + 1)]
    failure = {"error": {"class": "Diverged", "message": "the loss is not finite"}} if status == "diverged" else {}
    return [*records, {"kind": "ended", "trial": trial, "status": status, **failure}]


def final_trial(method: str, seed: int, error: float, number: int = 0, replicate: int = 0) -> list[dict]:
    trial = f"{Study(method, replicate).name}-final-{number:03d}-seed{seed}"
    records = [suggested(trial, method, number, seed, "final", replicate)]
    records += [result(trial, epoch) for epoch in range(1, EPOCHS)]
    test = {"test_error": error, "test_nll": 3 * error, "test_ece": error / 2}
    return [
        *records,
        result(trial, EPOCHS, "complete", **test),
        {"kind": "ended", "trial": trial, "status": "completed"},
    ]


def whole(plan: Document) -> list[dict]:
    """A campaign from its first record to its last: two studies, every way to end but an audit's."""
    records = [opened(plan)]
    for method, error in (("none", 0.2), ("cutmix", 0.1)):
        records += search_trial(method, 0, EPOCHS, "completed", error)
        records += search_trial(method, 1, 4, "stopped", 3 * error)
        records += search_trial(method, 2, 2, "diverged", 9 * error)
    for method, error in (("none", 0.04), ("cutmix", 0.02)):
        for seed in SEEDS:
            records += final_trial(method, seed, error + 0.001 * seed)
    return records


def write(folder: Folder, records: list[dict]) -> None:
    with closing(ledger.Ledger(folder.ledger)) as book:
        for record in records:
            book.append(record)


def recorded(storage: Path, **changes) -> Folder:
    """The folder of a whole campaign with its ledger."""
    document = plan(storage, **changes)
    folder = Folder(document.folder)
    write(folder, whole(document))
    return folder
