"""Faults of a document: each says where, what was got and what is allowed; all of them are reported at once."""

import types
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_WHOLE_MESSAGE = {"value_error", "assertion_error"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: the path of the value in its file, and a sentence."""

    file: str
    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.sentence}" if self.path else f"{self.file}: {self.sentence}"


class DocumentError(ValueError):
    """A document cannot be used. `faults` holds all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """' Did you mean "x"?' or nothing."""
    close = get_close_matches(str(word), list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def shown(value: Any) -> str:
    """A value as its file shows it: texts in quotes, so that "0.1" is told from 0.1."""
    if isinstance(value, str):
        return f'"{value}"'
    text = {True: "true", False: "false", None: "nothing"}.get(value) if isinstance(value, bool | None) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def path_of(location: Iterable[str | int]) -> str:
    """("methods", 0, "alpha") as methods[0].alpha."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def faults_of(error: ValidationError, model: Any, file: str, prefix: tuple[str | int, ...] = ()) -> list[Fault]:
    """The faults behind a pydantic error.

    Args:
        error: what validation raised.
        model: the model (or annotated union) that was validated: its field names are what "did you mean" draws on.
        file: the file the values came from.
        prefix: where in the file the validated part stands.
    """
    faults: dict[str, list[str]] = {}
    entries = error.errors(include_url=False)
    for entry in entries:
        if entry["type"] == "too_short" and any(_inside(other["loc"], entry["loc"]) for other in entries):
            continue  # pydantic counts only the valid items, and has said what is wrong with the others
        location, fields = _walk(model, entry["loc"])
        sentences = faults.setdefault(path_of((*prefix, *location)), [])
        if (sentence := _sentence(entry, fields)) not in sentences:
            sentences.append(sentence)
    return [Fault(file, path, _either(sentences)) for path, sentences in faults.items()]


def _inside(location: tuple, container: tuple) -> bool:
    return len(location) > len(container) and location[: len(container)] == container


def _either(sentences: list[str]) -> str:
    """Of a value that may be one of several kinds, pydantic reports each kind's law: 'must be A or B'."""
    first, *others = (sentence.rstrip(".") for sentence in sentences)
    return " or ".join([first, *(other.split(", must be ")[-1] for other in others)]) + sentences[0][len(first) :]


def _sentence(entry: dict[str, Any], fields: list[str]) -> str:
    kind, got, allowed = entry["type"], entry["input"], entry["msg"]
    if kind == "extra_forbidden":
        word = entry["loc"][-1]
        known = f"allowed here: {', '.join(fields)}" if fields else "nothing is allowed here"
        return f"unknown key; {known}.{did_you_mean(word, fields)}"
    if kind == "missing":
        return "is missing, and has no default."
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = entry["ctx"].get("expected_tags", "")
        known = [tag.strip(" '") for tag in tags.split(",")] if tags else fields
        name = entry["ctx"].get("tag")
        got = f'got "{name}"' if name is not None else "it has no name"
        return f"{got}, name must be one of {', '.join(known)}.{did_you_mean(name, known)}"
    if kind in _WHOLE_MESSAGE:
        return f"{allowed.removeprefix('Value error, ').removeprefix('Assertion failed, ')}."
    law = allowed.replace("Input should be", "must be").replace("a valid dictionary or instance of", "a mapping of")
    hint = did_you_mean(got, [str(choice) for choice in _choices(entry)]) if isinstance(got, str) else ""
    return f"got {shown(got)}, {law[0].lower()}{law[1:]}.{hint}"


def _choices(entry: dict[str, Any]) -> list[str]:
    expected = entry.get("ctx", {}).get("expected", "")
    return [part.strip(" '") for part in str(expected).replace(" or ", ", ").split(",")]


def _walk(model: Any, location: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], list[str]]:
    """The location without the union tags that pydantic puts into it, and the fields known where it ends."""
    kept: list[str | int] = []
    fields: list[str] = []
    here = [model]
    for part in location:
        models = [m for annotation in here for m in _models(annotation)]
        fields = sorted({name for m in models for name in m.model_fields})
        known = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if isinstance(part, str) and not known and _is_tag(part, here, models):
            here = [m for m in models if part in (*_tags(m), m.__name__)] or here
            continue
        kept.append(part)
        here = known or [arg for annotation in here for arg in _items(annotation)]
    return tuple(kept), fields


def _is_tag(part: str, here: list[Any], models: list[type[BaseModel]]) -> bool:
    """Whether pydantic put this part into a location to name the member of a union that it tried."""
    is_mapping = any(get_origin(member) is dict for annotation in here for member in _members(annotation))
    return not is_mapping and (not models or any(part in (*_tags(m), m.__name__) for m in models))


def _tags(model: type[BaseModel]) -> tuple:
    name = model.model_fields.get("name")
    return get_args(name.annotation) if name else ()


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]


def _items(annotation: Any) -> list[Any]:
    return [arg for m in _members(annotation) for arg in get_args(m) if arg is not Ellipsis]
