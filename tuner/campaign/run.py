"""One training run of a campaign: everything a worker has to know, as data that travels to it."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tuner import regularizers
from tuner.datasets import Data, DatasetSettings, final_data, search_data
from tuner.datasets.split import Split
from tuner.models import Model
from tuner.training.checkpoint import Checkpoints
from tuner.training.fit import fit
from tuner.training.settings import Training


class Run(BaseModel):
    """A trial's training. To measure on "validation" never reads the test set; on "test" does once, at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetSettings
    split: Split
    model: Model
    method: str
    hyperparameters: dict[str, Any]
    training: Training
    seed: int
    measure_on: Literal["validation", "test"] = "validation"
    fit_on: Literal["train", "trainval"] = "train"
    select: Literal["best_val", "last"] = "last"

    def rows(
        self,
        device: str,
        checkpoints: Checkpoints | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[dict[str, Any]]:
        """Trains; one row an epoch, as `tuner.training.fit` describes them."""
        yield from fit(
            model=self.model,
            regularizer=regularizers.get(self.method).model_validate(self.hyperparameters),
            data=_data(self.dataset, self.split, self.measure_on, self.fit_on, device),
            training=self.training,
            seed=self.seed,
            select=self.select,
            device=device,
            checkpoints=checkpoints,
            should_stop=should_stop,
        )


@lru_cache(maxsize=2)
def _data(dataset: DatasetSettings, split: Split, measure_on: str, fit_on: str, device: str) -> Data:
    """The images on their device, read once by a worker that runs trial after trial."""
    data = search_data(dataset, split) if measure_on == "validation" else final_data(dataset, split, fit_on)
    return data.to(device)
