"""Whatever a campaign file holds, reading it gives a document or the list of its faults: looked for by hypothesis."""

import copy
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.campaign.conftest import SMALL
from tests.faults.repeatable import repeatable
from tuner.campaign import reading, yaml_file
from tuner.campaign.document import Document, differences
from tuner.campaign.faults import DocumentError

FULL = {
    **SMALL,
    "methods": ["none", {"name": "cutmix", "alpha": 0.5}, "patchup_hard", "manifold_mixup"],
    "resources": {"cpu": 1, "gpu": 0},
    "tracking": {"uri": "http://127.0.0.1:5000"},
    "spaces": {
        "shared": {"lr": {"low": 0.01, "high": 0.3, "log": True}},
        "manifold_mixup": {"layers": {"choices": ["patchup", [1, 2]]}},
    },
}
TEXT = yaml_file.dump(FULL)

words = st.sampled_from(
    ["none", "mixup", "cutmix", "name", "alpha", "auto", "low", "high", "choices", "log", "step", "onecycle", "shared"]
)
numbers = st.one_of(
    st.integers(-2, 20),
    st.sampled_from([-(10**30), 10**30, 2**63, -(2**63), 10**400]),
    st.floats(),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, st.text(max_size=6)), inner, max_size=3)
    ),
    max_leaves=6,
)
sizes = {"width", "blocks"}
"""Not given large numbers: the net would be built, and the machine's memory is not what is tested here."""


def places(content, path=()):
    """The paths of all that stands in a document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


instead = st.one_of(st.text(st.characters(exclude_categories=["Nd"]), max_size=4), st.sampled_from("[]{}:&*!-"))

PLACES = [path for path in places(FULL) if path[-1] not in sizes and path != ("model",)]


def read(folder: Path, content: str | bytes) -> Document | None:
    """The document of a file with this content; None where it was refused, with faults that people can read."""
    path = folder / "campaign.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        document = reading.load(path)
    except DocumentError as error:
        refusal = error
    else:
        assert differences(document, reading.check(document.as_yaml(), "again")) == []
        return document
    assert refusal.faults
    assert all(fault.file and fault.sentence for fault in refusal.faults)
    return None


def test_the_document_that_is_mutated_is_a_sound_one(tmp_path):
    assert read(tmp_path, TEXT) is not None


@repeatable(200)
@given(text=st.one_of(st.text(), st.text("-:[]{}&*!|>'\"#%@`?, \n\tab1.", max_size=40)))
@example(text="")
@example(text="\x00")
@example(text="\ud800")
@example(text="&a [*a]")
@example(text="&a {name: *a}")
@example(text="name: &a [*a]")
@example(text="!!binary x")
@example(text="!!python/object/apply:os.getcwd []")
@example(text="{? {a: 1} : 2}")
@example(text="<<: {name: x}")
@example(text="[" * 3000)
@example(text="{a: " * 3000)
@example(text="- " * 3000)
@example(text="name: 0" + "9" * 5000)
@example(text="name: !!int x")
@example(text="name: !!float x")
@example(text="name: !!timestamp x")
@example(text="name: !!timestamp 2020-01-01")
@example(text="name: !!binary aGk=")
@example(text="name: !!set {a}")
@example(text="name: !!bool x")
@example(text="name: !!null x")
@example(text="name: !!map x")
@example(text="name: !!seq {}")
@example(text="name: !!str [a]")
@example(text="name: 2020-01-01")
@example(text="--- a\n--- b")
def test_any_text_is_refused(tmp_path, text):
    assert read(tmp_path, text) is None


@repeatable(200)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_refused(tmp_path, content):
    assert read(tmp_path, content) is None


@repeatable(200)
@given(content=values)
def test_any_structure_is_refused(tmp_path, content):
    assert read(tmp_path, yaml_file.dump(content)) is None


@repeatable(150)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["put", "add", "remove"]), words, values),
        min_size=1,
        max_size=3,
    )
)
def test_a_changed_campaign_is_read_or_refused(tmp_path, changes):
    content = copy.deepcopy(FULL)
    for path, what, word, value in changes:
        change(content, path, what, word, value)
    read(tmp_path, yaml_file.dump(content))


@pytest.mark.parametrize(
    "value", [None, True, -1, 10**400, "é\n", [[]], {"name": {}}], ids=lambda value: repr(value)[:20]
)
def test_every_value_may_be_anything(tmp_path, value):
    for path in PLACES:
        content = copy.deepcopy(FULL)
        change(content, path, "put", "", value)
        read(tmp_path, yaml_file.dump(content))


@repeatable(200)
@given(at=st.floats(0, 1), length=st.integers(0, 12), instead=instead)
def test_a_campaign_with_another_text_at_some_place_is_read_or_refused(tmp_path, at, length, instead):
    begin = round(at * len(TEXT))
    read(tmp_path, TEXT[:begin] + instead + TEXT[begin + length :])


def change(content, path, what, word, value) -> None:
    """Puts, adds or removes a value at a place, if an earlier change has left that place."""
    *before, last = path
    for key in before:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(content, dict) and (last in content or what == "add"):
        if what == "remove":
            del content[last]
        else:
            content[word if what == "add" else last] = value
    elif isinstance(content, list) and isinstance(last, int) and last < len(content):
        content[last : last + 1] = [] if what == "remove" else [value, *([content[last]] if what == "add" else [])]
