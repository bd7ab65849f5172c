"""How a campaign searches, measures its winners and what it may use: the parts of a document that name no method."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.training.settings import Training
from tuner.training.streams import seed_of


class Part(BaseModel):
    """A part of a document: strict, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Budget(Part):
    """What the searches may spend, read from the ledger; what runs when it is spent runs to its end.

    `epochs`, `gpu_hours` and `cpu_hours` are of each study, so that no method gets more than another. `wall_hours` is
    of the whole campaign: the time in which a driver ran it.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    cpu_hours: Annotated[float, Field(gt=0)] | None = None
    wall_hours: Annotated[float, Field(gt=0)] | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Those that are set, by their names."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _check(self):
        if not self.model_fields_set:
            raise ValueError("a budget says at least one of epochs, gpu_hours, cpu_hours, wall_hours")
        return self


class Search(Part):
    """How every method is tuned: each in a study and under a scheduler of its own."""

    trials: int = Field(ge=0, description="search trials a method; 0 goes straight to the final runs")
    replicates: int = Field(1, ge=1, description="whole studies a method, each with its own seeds and final trials")
    budget: Budget | None = Field(None, description="at most this much, beside `trials`; final trials are always paid")
    warm_start: str | None = Field(None, description="an earlier campaign in the same storage to learn from")
    sampler: Literal["tpe", "random", "gp", "cmaes", "grid"] = "tpe"
    scheduler: Literal["asha", "hyperband", "median", "fifo"] = "asha"
    grace: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="where a trial may first be stopped; auto: behind a step schedule's first drop, else at a quarter",
    )
    reduction: int = Field(
        2, ge=2, description="of asha and hyperband: the best 1/reduction pass a rung; rungs lie that factor apart"
    )
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

    def replicate_seed(self, replicate: int) -> int:
        """What the samplers and the search trials of a replicate are seeded from."""
        return seed_of(self.seed, "replicate", replicate) if replicate else self.seed

    @property
    def concurrent(self) -> int:
        """Trials of one study that run at once: more would all arrive first at a rung, where nobody is stopped."""
        return max(1, self.trials // 4)


class Final(Part):
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


class Resources(Part):
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


class Tracking(Part):
    """Where MLflow records the campaign; $MLFLOW_TRACKING_URI, else a SQLite file in `storage`, if empty."""

    uri: str | None = None
