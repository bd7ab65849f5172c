"""Reads a campaign document: all that is wrong with it is found and reported at once, before anything runs."""

import json
from itertools import repeat
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from tuner import regularizers
from tuner.campaign import yaml_file
from tuner.campaign.document import Document, Method
from tuner.campaign.faults import DocumentError, Fault, did_you_mean, faults_of, shown
from tuner.campaign.preflight import preflight
from tuner.campaign.sampler_faults import sampler_faults
from tuner.campaign.spaces import SHARED, Choices, Dimension, Range, Space, space_file
from tuner.regularizers import Regularizer
from tuner.training.settings import Training

MOST_INTEGERS_TRIED = 1000
"""Of a searched range, to find those that its ends do not tell of."""


def load(path: Path) -> Document:
    """The resolved document of a campaign file.

    Raises:
        DocumentError: with every fault of the file, and of the search spaces that it uses.
    """
    return check(_read(path, str(path)), str(path))


def own_space(method: str) -> Space:
    """The repository's space of a method, the shared part first."""
    spaces, faults = _spaces({}, {method: Method(name=method)}, f"search_spaces/{method}.yaml")
    if faults:
        raise DocumentError(faults)
    return {**spaces[SHARED], **spaces[method]}


def check(content: Any, file: str) -> Document:
    """The resolved document of a file's content; raises DocumentError with all faults."""
    if not isinstance(content, dict):
        raise DocumentError([Fault(file, "", f"a campaign is a mapping of keys to values, got {shown(content)}.")])
    faults, document = [], None
    try:
        document = Document.model_validate_json(json.dumps({**content, "spaces": {}}), strict=True)
    except ValidationError as error:
        faults += faults_of(error, Document, file)
    methods, method_faults = _methods(content.get("methods"), file)
    spaces, space_faults = _spaces(content.get("spaces", {}), methods, file)
    faults += method_faults + space_faults
    faults += _grace_fault(document, file) + sampler_faults(document.search, spaces, file) if document else []
    if faults:
        raise DocumentError([*faults, *(_misfits(document, spaces, file) if document else [])])
    return document.model_copy(update={"spaces": spaces})


def _misfits(document: Document, spaces: dict[str, Space], file: str) -> list[Fault]:
    """What preflight finds wrong with those methods that are sound in themselves, where it costs no download."""
    if not document.dataset.at_hand():
        return []
    sound = {
        method.name: spaces[method.name] for method in document.methods if method.name in spaces and _sound(method)
    }
    try:
        preflight(document.model_copy(update={"spaces": {SHARED: {}, **sound}}), file)
    except DocumentError as error:
        return error.faults
    return []


def _sound(method: Method) -> bool:
    try:
        method.regularizer()
    except ValidationError:
        return False
    return True


def _read(path: Path, file: str) -> Any:
    try:
        return yaml_file.load(path)
    except OSError as error:
        raise DocumentError([Fault(file, "", f"cannot be read: {error.strerror}.")]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocumentError([Fault(file, "", f"is not valid YAML: {' '.join(str(error).split())}")]) from None


def _methods(entries: Any, file: str) -> tuple[dict[str, Method], list[Fault]]:
    """The methods that exist, by name, and what is wrong with the entries."""
    methods: dict[str, Method] = {}
    faults: list[Fault] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            method = Method.model_validate(entry)
        except ValidationError:
            continue  # the document's own validation has reported it
        path = ("methods", index)
        try:
            cls = regularizers.get(method.name)
        except ValueError as error:
            faults.append(Fault(file, f"methods[{index}]", str(error)))
            continue
        if method.name in methods:
            faults.append(Fault(file, f"methods[{index}]", f'"{method.name}" stands twice; each method has one study.'))
        try:
            cls.model_validate_json(json.dumps(method.fixed), strict=True)
        except ValidationError as error:
            faults += faults_of(error, cls, file, path)
        methods[method.name] = method
    return methods, faults


def _spaces(given: Any, methods: dict[str, Method], file: str) -> tuple[dict[str, Space], list[Fault]]:
    """The space of every method and the shared one: the campaign's own where it gives one, else the repository's."""
    known = [SHARED, *methods]
    faults = []
    if not isinstance(given, dict):
        faults.append(Fault(file, "spaces", f"got {shown(given)}, must be a mapping of methods to their spaces."))
        given = {}
    faults += [
        Fault(file, f"spaces.{name}", f"is no method of this campaign.{did_you_mean(name, known)}")
        for name in given
        if name not in known
    ]
    spaces: dict[str, Space] = {}
    for name in known:
        method = methods.get(name)
        source, prefix = (file, ("spaces", name)) if name in given else (f"search_spaces/{name}.yaml", ())
        try:
            content = given[name] if name in given else _read(space_file(name), source)
            spaces[name] = _space(content, method, source, prefix)
        except DocumentError as error:
            faults += error.faults
    return spaces, faults


def _space(content: Any, method: Method | None, file: str, prefix: tuple[str, ...]) -> Space:
    """One space, inside the legal range of the class; what the campaign holds fixed is not searched."""
    where = ".".join(prefix)
    if not isinstance(content, dict):
        raise DocumentError([Fault(file, where, f"must be a mapping of names to ranges, got {shown(content)}.")])
    cls = regularizers.get(method.name) if method else Training
    searchable = sorted(cls.model_fields) if method else ["lr", "weight_decay"]
    space, faults = {}, []
    for name, entry in content.items():
        path = ".".join((*prefix, name))
        if name not in searchable:
            names = ", ".join(searchable) or "none"
            hint = did_you_mean(name, searchable)
            faults.append(Fault(file, path, f"unknown hyper-parameter; {cls.__name__} has {names}.{hint}"))
            continue
        try:
            dimension = _DIMENSION.validate_json(json.dumps(entry), strict=True)
        except ValidationError as error:
            faults += faults_of(error, Dimension, file, (*prefix, name))
            continue
        if illegal := _illegal(cls, name, dimension, file, path):
            faults += illegal
            continue
        try:
            meant = _as_field(cls, name, dimension)
        except ValidationError as error:
            faults += faults_of(error, Dimension, file, (*prefix, name))
            continue
        if not (method and name in method.fixed):
            space[name] = meant
    if faults:
        raise DocumentError(faults)
    return space


_DIMENSION = TypeAdapter(Dimension)


def _illegal(cls: type[BaseModel], name: str, dimension: Dimension, file: str, path: str) -> list[Fault]:
    """The ends of a searched range, or the choices, that the class refuses."""
    named = isinstance(dimension, Choices)
    ends = [
        Fault(file, f"{path}.{end}", f"{fault.sentence} That is the law of {cls.__name__}.{name}.")
        for end, value in zip(repeat("choices") if named else ("low", "high"), dimension.corners, strict=False)
        for fault in _refusals(cls, name, value, file)
    ]
    if ends or named or cls.model_fields[name].annotation is float:
        return ends
    # Between two legal integers may lie one that is not: an even block, a depth of 0.
    inside = range(int(dimension.low) + 1, int(dimension.high))[:MOST_INTEGERS_TRIED]
    refused = next((faults for value in inside if (faults := _refusals(cls, name, value, file))), [])
    return [Fault(file, path, f"{fault.sentence} List the legal ones as choices.") for fault in refused]


def _refusals(cls: type[BaseModel], name: str, value: Any, file: str) -> list[Fault]:
    try:
        cls.model_validate_json(json.dumps({name: value}), strict=True)
    except ValidationError as error:
        # Other fields of `training` are missing here, and how fields go together is for preflight to see.
        return [fault for fault in faults_of(error, cls, file) if fault.path.split("[")[0] == name]
    return []


def _as_field(cls: type[BaseModel], name: str, dimension: Dimension) -> Dimension:
    """The dimension in the field's own terms: what a choice's name stands for, and floats where the field is one.

    A range is of integers if its ends are.
    """
    if isinstance(dimension, Choices) and issubclass(cls, Regularizer):
        return Choices(choices=tuple(getattr(cls.model_validate({name: choice}), name) for choice in dimension.choices))
    if isinstance(dimension, Choices) or cls.model_fields[name].annotation is not float:
        return dimension
    return Range.model_validate(dimension.model_dump() | {"low": float(dimension.low), "high": float(dimension.high)})


def _grace_fault(document: Document, file: str) -> list[Fault]:
    grace, epochs = document.search.grace, document.training.epochs
    if grace == "auto" or grace <= epochs:
        return []
    return [Fault(file, "search.grace", f"got {grace}, must be at most training.epochs, which is {epochs}.")]
