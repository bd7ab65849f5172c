"""A small campaign document, and ledgers written by hand."""

from pathlib import Path

import pytest

from tuner.campaign import reading
from tuner.campaign.document import Document

SMALL = {
    "name": "small",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 5, "validation_per_class": 5},
    "model": {"name": "preactresnet18", "width": 4},
    "methods": ["none", "mixup"],
    "training": {"epochs": 8, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 4, "audit": 0},
    "final": {"seeds": [0, 1], "select": "last"},
}


@pytest.fixture
def content(tmp_path: Path) -> dict:
    """A document's content that a test may change; its campaigns live under tmp_path."""
    return {**SMALL, "storage": str(tmp_path / "runs")}


@pytest.fixture
def small(content: dict) -> Document:
    return reading.check(content, "small.yaml")
