"""The campaign document: what a campaign is, as one YAML file, checked whole before anything runs."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_serializer, model_validator

from tuner import regularizers
from tuner.campaign import yaml_file
from tuner.campaign.faults import DocumentError, Fault, did_you_mean, faults_of, shown
from tuner.campaign.rungs import rung_epochs
from tuner.campaign.spaces import SHARED, Choices, Dimension, Range, Space, space_file
from tuner.datasets import DatasetSettings
from tuner.datasets.split import Split
from tuner.models import Model
from tuner.regularizers import Regularizer
from tuner.training.settings import Training


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Method(_Part):
    """A method of the campaign: `cutmix`, or `{name: cutmix, alpha: 1.0}` with some hyper-parameters held fixed."""

    name: str
    fixed: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "fixed" not in value:
            return {"name": value.get("name"), "fixed": {key: v for key, v in value.items() if key != "name"}}
        return value

    @model_serializer
    def _to_yaml(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.fixed} if self.fixed else self.name

    def regularizer(self, **searched: Any) -> Regularizer:
        """The method with its fixed hyper-parameters and these; the class's defaults for the rest."""
        return regularizers.get(self.name).model_validate({**self.fixed, **searched})


class Search(_Part):
    """How every method is tuned: each in a study and under a scheduler of its own."""

    trials: int = Field(ge=0, description="search trials a method; 0 goes straight to the final runs")
    sampler: Literal["tpe", "random"] = "tpe"
    scheduler: Literal["asha", "fifo"] = "asha"
    grace: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="epochs before the first rung; auto: behind the first drop of a step schedule, else a quarter",
    )
    reduction: int = Field(2, ge=2, description="the best 1/reduction pass a rung; rungs lie that factor apart")
    audit: float = Field(0.1, ge=0, le=1, description="share of the stopped trials that run on, to price the stopping")
    metric: Literal["error", "nll"] = "error"
    parity: Literal["trials", "epochs", "hours"] = Field("trials", description="what must be equal to rank methods")
    seed: int = Field(0, ge=0, description="of the samplers and of the search trials' training")

    def first_rung(self, training: Training) -> int:
        """Epochs that no trial is stopped before."""
        return self.safe_grace(training) if self.grace == "auto" else self.grace

    @staticmethod
    def safe_grace(training: Training) -> int:
        """Strong regularizers start slowly: one epoch behind the first drop of a step schedule, else a quarter."""
        if training.schedule.name == "step":
            return int(training.schedule.at[0] * training.epochs) + 1
        return max(1, training.epochs // 4)

    def rungs(self, training: Training) -> tuple[int, ...]:
        """The epochs at which the scheduler may stop a trial, moved to the next one that ends with a validation."""
        if self.scheduler == "fifo":
            return ()
        every = training.evaluate_every
        rungs = rung_epochs(self.first_rung(training), self.reduction, training.epochs)
        evaluated = dict.fromkeys(-(-rung // every) * every for rung in rungs)
        return tuple(rung for rung in evaluated if rung < training.epochs)

    @property
    def concurrent(self) -> int:
        """Trials of one study that run at once: more would all arrive first at a rung, where nobody is stopped."""
        return max(1, self.trials // 4)


class Final(_Part):
    """How the best configuration of each method is measured."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    fit_on: Literal["train", "trainval"] = "train"
    select: Literal["best_val", "last"] = "best_val"

    @model_validator(mode="after")
    def _check(self):
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed stands twice in {list(self.seeds)}: each would be counted as a run of its own")
        if self.fit_on == "trainval" and self.select == "best_val":
            raise ValueError(
                "fit_on: trainval leaves no validation images to select best_val by; use select: last, or fit_on: train"
            )
        return self


class Resources(_Part):
    """What one trial holds while it runs."""

    cpu: float = Field(1, gt=0)
    gpu: float = Field(0, ge=0, description="a share of one GPU: 0.5 runs two trials on each")
    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(
        None, description="trials at once; all that fit if empty"
    )

    @model_validator(mode="after")
    def _check_gpu(self):
        if self.gpu > 1:
            raise ValueError(
                f"gpu: {self.gpu:g} asks for more than one GPU a trial, but a trial trains on one device and the "
                "others would idle; use at most 1, and more trials at once"
            )
        return self


class Tracking(_Part):
    """Where MLflow records the campaign; $MLFLOW_TRACKING_URI, else a SQLite file in `storage`, if empty."""

    uri: str | None = None


class Document(_Part):
    """A whole campaign. It is resolved once `spaces` is filled for every method: no other file is read again."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    dataset: DatasetSettings
    split: Split
    model: Model
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    training: Training
    search: Search
    final: Final = Final()
    resources: Resources = Resources()
    storage: str = "runs"
    tracking: Tracking = Tracking()
    spaces: dict[str, Space] = {}

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    def space(self, method: str) -> Space:
        """What the method's study searches, the shared part first."""
        return {**self.spaces[SHARED], **self.spaces[method]}

    def paper_setting(self, method: str) -> dict[str, Any]:
        """The searched hyper-parameters at the values of the method's class and of `training`: trial 0 of a study."""
        regularizer = self.method(method).regularizer()
        own = {"lr": self.training.lr, "weight_decay": self.training.weight_decay}
        return {name: own[name] if name in own else getattr(regularizer, name) for name in self.space(method)}

    def with_seeds(self, count: int | None) -> "Document":
        """The same campaign with the final seeds 0 to count - 1, under a name of its own; itself without a count."""
        if count is None:
            return self
        final = self.final.model_copy(update={"seeds": tuple(range(count))})
        return self.model_copy(update={"name": f"{self.name}-seeds{count}", "final": final})

    @property
    def folder(self) -> Path:
        """Where the campaign lives."""
        return Path(self.storage).absolute() / self.name

    def as_yaml(self) -> dict[str, Any]:
        """The document as plain data that `check` turns back into it."""
        return self.model_dump(mode="json", exclude_none=True)


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
    faults += _grace_fault(document, file) if document else []
    if faults:
        raise DocumentError(faults)
    return document.model_copy(update={"spaces": spaces})


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
        illegal = _illegal(cls, name, dimension, file, path)
        faults += illegal
        if not illegal and not (method and name in method.fixed):
            space[name] = _as_floats(cls, name, dimension)
    if faults:
        raise DocumentError(faults)
    return space


_DIMENSION = TypeAdapter(Dimension)


def _illegal(cls: type[BaseModel], name: str, dimension: Dimension, file: str, path: str) -> list[Fault]:
    """The ends of a searched range, or the choices, that the class refuses."""
    named = isinstance(dimension, Choices)
    return [
        Fault(file, f"{path}.{end}", f"{fault.sentence} That is the law of {cls.__name__}.{name}.")
        for end, value in zip(["choices"] * 99 if named else ["low", "high"], dimension.corners, strict=False)
        for fault in _refusals(cls, name, value, file)
    ]


def _refusals(cls: type[BaseModel], name: str, value: Any, file: str) -> list[Fault]:
    try:
        cls.model_validate_json(json.dumps({name: value}), strict=True)
    except ValidationError as error:
        # Other fields of `training` are missing here, and are not the question.
        return [fault for fault in faults_of(error, cls, file) if fault.path.split("[")[0] in (name, "")]
    return []


def _as_floats(cls: type[BaseModel], name: str, dimension: Dimension) -> Dimension:
    """Integer ends of a range become floats where the field is one: a range is of integers if its ends are."""
    if isinstance(dimension, Choices) or cls.model_fields[name].annotation is not float:
        return dimension
    return Range(low=float(dimension.low), high=float(dimension.high), log=dimension.log)


def _grace_fault(document: Document, file: str) -> list[Fault]:
    grace, epochs = document.search.grace, document.training.epochs
    if grace == "auto" or grace <= epochs:
        return []
    return [Fault(file, "search.grace", f"got {grace}, must be at most training.epochs, which is {epochs}.")]


def differences(old: Document, new: Document) -> list[str]:
    """What differs between two resolved documents, one line a value."""
    left, right = _flat(old.as_yaml()), _flat(new.as_yaml())
    return [
        f"{path}: {shown(left.get(path))} -> {shown(right.get(path))}"
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    ]


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, dict) and content:
        return {k: v for key, value in content.items() for k, v in _flat(value, f"{path}.{key}".lstrip(".")).items()}
    return {path: content}
