"""The campaign document: what a campaign is, as one YAML file."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_serializer, model_validator

from tuner import regularizers
from tuner.campaign.faults import shown
from tuner.campaign.lattice import grid_trials
from tuner.campaign.settings import Final, Part, Resources, Search, Tracking
from tuner.campaign.spaces import SHARED, Space
from tuner.campaign.study import Study
from tuner.datasets import DatasetSettings
from tuner.datasets.split import Split
from tuner.models import Model
from tuner.regularizers import Regularizer
from tuner.training.settings import Training

REPLICATE_SEEDS = 1000
"""What the final seeds of two replicates lie apart."""

LONGEST_NAME = 100
"""Of a campaign: it becomes the name of a folder, with more behind it."""


class Method(Part):
    """A method of the campaign: `cutmix`, or `{name: cutmix, alpha: 1.0}` with some hyper-parameters held fixed."""

    name: str
    fixed: dict[str, Any] = Field({})

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


def _folder_name(storage: str) -> str:
    if "://" in storage:
        raise ValueError(
            f'"{storage}" is an object store; a ledger is locked and forced to the disk line by line, which takes a '
            "POSIX folder"
        )
    return storage


class Document(Part):
    """A whole campaign. It is resolved once `spaces` is filled for every method: no other file is read again."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    dataset: DatasetSettings
    split: Split
    model: Model
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    training: Training
    search: Search
    final: Final = Final()
    resources: Resources = Resources()
    storage: Annotated[str, AfterValidator(_folder_name)] = "runs"
    tracking: Tracking = Tracking()
    spaces: dict[str, Space] = Field({})

    @model_validator(mode="after")
    def _check_seeds(self):
        if self.search.replicates > 1 and max(self.final.seeds) >= REPLICATE_SEEDS:
            raise ValueError(
                f"final.seeds has {max(self.final.seeds)}; with search.replicates above 1 they are below "
                f"{REPLICATE_SEEDS}, because replicate r trains its final runs with r * {REPLICATE_SEEDS} added"
            )
        return self

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    @property
    def studies(self) -> tuple[Study, ...]:
        """All that are searched, in the order of the methods."""
        return tuple(Study(method.name, r) for method in self.methods for r in range(self.search.replicates))

    def study(self, name: str) -> Study:
        return next(study for study in self.studies if study.name == name)

    def final_seeds(self, study: Study) -> tuple[int, ...]:
        """With what the study's best configuration is trained: replicates share no seed, methods share them all."""
        return tuple(study.replicate * REPLICATE_SEEDS + seed for seed in self.final.seeds)

    def most_trials(self, method: str) -> int:
        """Search trials that a study of this method may suggest: a grid may have fewer points."""
        if self.search.sampler != "grid":
            return self.search.trials
        return min(self.search.trials, grid_trials(self.space(method), self.paper_setting(method)))

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
        suffix = f"-seeds{count}"
        return self.model_copy(update={"name": self.name[: LONGEST_NAME - len(suffix)] + suffix, "final": final})

    @property
    def folder(self) -> Path:
        """Where the campaign lives."""
        return Path(self.storage).expanduser().absolute() / self.name

    def as_yaml(self) -> dict[str, Any]:
        """The document as plain data that `check` turns back into it, without the tracking server's secrets."""
        content = self.model_dump(mode="json", exclude_none=True)
        if self.tracking.uri:
            content["tracking"]["uri"] = re.sub(r"(?<=://)[^/\s]\S*@|\?.*", "", self.tracking.uri)
        return content


def differences(old: Document, new: Document) -> list[str]:
    """What differs between two resolved documents, one line a value, but for what no result depends on."""
    left, right = (_flat(_that_results_depend_on(document)) for document in (old, new))
    return [
        f"{path}: {shown(left.get(path))} -> {shown(right.get(path))}"
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    ]


def _that_results_depend_on(document: Document) -> dict[str, Any]:
    without_effect = ("resources", "storage", "tracking")
    content = {key: value for key, value in document.as_yaml().items() if key not in without_effect}
    dataset = {key: value for key, value in content["dataset"].items() if key not in document.dataset.without_effect}
    return {**content, "dataset": dataset}


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, dict) and content:
        return {k: v for key, value in content.items() for k, v in _flat(value, f"{path}.{key}".lstrip(".")).items()}
    return {path: content}
