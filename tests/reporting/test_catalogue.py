"""The lists: everything is in them, as the classes have it."""

import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from rich.console import Console

from tuner import regularizers
from tuner.campaign.spaces import Choices, Range
from tuner.datasets import dataset_classes
from tuner.models import architectures
from tuner.reporting.catalogue import LISTS, legal_text, searched_text, value_text

ROOT = Path(__file__).parents[2]


def printed(what: str) -> str:
    console = Console(width=400, record=True, file=StringIO())
    for entry in LISTS[what]():
        console.print(entry)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def test_methods_are_listed_with_papers_defaults_and_ranges():
    text = printed("methods")
    for name in regularizers.names():
        cls = regularizers.get(name)
        assert f"\n{name}\n" in f"\n{text}"
        if cls.paper:
            assert cls.paper.title in text
            assert cls.paper.url in text
        for field in cls.model_fields.values():
            assert field.description in text
            assert field.json_schema_extra["source"] in text
    assert "\n  cutmix_prob  0.5; number from 0 to 1; searched 0.2 to 1\n" in text


@pytest.mark.parametrize(("what", "classes"), [("models", architectures()), ("datasets", dataset_classes())])
def test_models_and_data_sets_are_listed_with_papers_and_settings(what, classes):
    text = printed(what)
    for name, cls in classes.items():
        assert f"\n{name}\n" in f"\n{text}"
        assert not cls.paper or cls.paper.title in text
        for setting, field in cls.model_fields.items():
            assert setting == "name" or field.description in text, f"{name}.{setting}"


def test_models_tell_their_size():
    assert "11,171,146 parameters" in printed("models")


def test_campaigns_are_listed_with_what_they_say_of_themselves():
    text = printed("campaigns")
    for path in (ROOT / "campaigns").glob("*.yaml"):
        assert f"campaigns/{path.name}" in text
        assert path.read_text().splitlines()[0].removeprefix("# ") in text
    assert "preactresnet18 on digits: none, mixup, cutmix, patchup_hard" in text


Count = Annotated[int, Field(ge=1)]


class Laws(BaseModel):
    share: float = Field(ge=0, le=1)
    rate: float = Field(gt=0, lt=1)
    count: int = Field(ge=1)
    most: int | None = Field(ge=1)
    kind: Literal["const", "linear"]
    only: Literal["one"]
    on: bool
    depths: tuple[Annotated[int, Field(ge=0)], ...]
    blocks: Annotated[tuple[Count, Count, Count, Count], Field(strict=False)]
    word: str


def test_legal_ranges_in_words():
    laws = Laws.model_json_schema()["properties"]
    assert {name: legal_text(law) for name, law in laws.items()} == {
        "share": "number from 0 to 1",
        "rate": "number above 0 below 1",
        "count": "integer from 1",
        "most": "integer from 1 or none",
        "kind": "const | linear",
        "only": "one",
        "on": "true | false",
        "depths": "list of integers from 0",
        "blocks": "list of 4 integers from 1",
        "word": "string",
    }


def test_values_and_dimensions_as_a_document_writes_them():
    assert [value_text(value) for value in (None, True, 0.1, 7, (0, 2, 3), "last")] == [
        "none", "true", "0.1", "7", "[0, 2, 3]", "last",
    ]  # fmt: skip
    assert searched_text(Range(low=0.05, high=4.0, log=True)) == "0.05 to 4 (log)"
    assert searched_text(Choices(choices=(3, 5))) == "3 | 5"


def test_the_command_lists_and_refuses():
    def tune(*arguments):
        return subprocess.run(
            [sys.executable, "tune.py", "list", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200
        )

    listed = tune("methods")
    assert listed.returncode == 0
    assert all(f"\n{name}\n" in f"\n{listed.stdout}" for name in regularizers.names())
    refused = tune("method")
    assert refused.returncode != 0
    assert "methods" in refused.stdout + refused.stderr
