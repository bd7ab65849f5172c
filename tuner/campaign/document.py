"""The campaign document: what a campaign is, as one YAML file."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_serializer, model_validator

from tuner import regularizers
from tuner.campaign.faults import shown
from tuner.campaign.rungs import rung_epochs
from tuner.campaign.spaces import SHARED, Space
from tuner.datasets import DatasetSettings
from tuner.datasets.split import Split
from tuner.models import Model
from tuner.regularizers import Regularizer
from tuner.training.settings import Training

LONGEST_NAME = 100
"""Of a campaign: it becomes the name of a folder, with more behind it."""


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
    custom: dict[str, Annotated[float, Field(gt=0)]] = Field({}, description="amounts of Ray's custom resources")

    @model_validator(mode="after")
    def _check_gpu(self):
        if own := {"cpu", "gpu"} & {label.lower() for label in self.custom}:
            raise ValueError(
                f"custom: {', '.join(sorted(own))} is no custom resource; write it beside `custom`, as cpu or gpu"
            )
        if self.gpu > 1:
            raise ValueError(
                f"gpu: {self.gpu:g} asks for more than one GPU a trial, but a trial trains on one device and the "
                "others would idle; use at most 1, and more trials at once"
            )
        return self


class Tracking(_Part):
    """Where MLflow records the campaign; $MLFLOW_TRACKING_URI, else a SQLite file in `storage`, if empty."""

    uri: str | None = None


def _folder_name(storage: str) -> str:
    if "://" in storage:
        raise ValueError(
            f'"{storage}" is an object store; a ledger is locked and forced to the disk line by line, which takes a '
            "POSIX folder"
        )
    return storage


class Document(_Part):
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
    content = {key: value for key, value in document.as_yaml().items() if key not in ("resources", "tracking")}
    dataset = {key: value for key, value in content["dataset"].items() if key not in document.dataset.without_effect}
    return {**content, "dataset": dataset}


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, dict) and content:
        return {k: v for key, value in content.items() for k, v in _flat(value, f"{path}.{key}".lstrip(".")).items()}
    return {path: content}
