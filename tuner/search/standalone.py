"""The same training for anyone's own `tune.Tuner`: a Trainable for a method on a data set, and its search space."""

import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from ray import tune

from tuner import regularizers
from tuner.campaign.reading import own_space
from tuner.campaign.run import Run
from tuner.campaign.spaces import Choices, Dimension
from tuner.datasets import DatasetSettings
from tuner.datasets.split import Split
from tuner.models import Model
from tuner.search.trainable import device
from tuner.training.checkpoint import Checkpoints
from tuner.training.settings import Training


class RegularizerTrainable(tune.Trainable):
    """Trains a method with the hyper-parameters of its config, `lr`, `weight_decay` and `seed` among them.

    Every result is one epoch: `epoch`, `train_loss`, `val_error`, `val_nll`, `val_ece` and so on, `done` at the last.
    Subclasses are made by `trainable_for`.
    """

    base: Run
    """What the config does not say."""

    def setup(self, config: dict[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="regtune-trial-"))
        self._begin(config, epoch=0)

    def _begin(self, config: dict[str, Any], epoch: int) -> None:
        training = {name: config[name] for name in ("lr", "weight_decay") if name in config}
        own = {name: value for name, value in config.items() if name not in ("lr", "weight_decay", "seed")}
        run = self.base.model_copy(
            update={
                "hyperparameters": self.base.hyperparameters | own,
                "training": self.base.training.model_copy(update=training),
                "seed": config.get("seed", self.base.seed),
            }
        )
        # What a checkpoint does not hold is trained again, to the same rows: those that Ray has are passed over.
        rows = run.rows(device(), Checkpoints(self._folder))
        self._rows = itertools.dropwhile(lambda row: row["epoch"] <= epoch, rows)

    def step(self) -> dict[str, Any]:
        row = next(self._rows)
        return {**row, "done": row["epoch"] == self.base.training.epochs}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        shutil.copytree(self._folder, checkpoint_dir, dirs_exist_ok=True)
        (Path(checkpoint_dir) / "config.json").write_text(json.dumps(self.config), encoding="utf-8")

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        saved = json.loads((Path(checkpoint_dir) / "config.json").read_text(encoding="utf-8"))
        if saved != json.loads(json.dumps(self.config)):
            raise ValueError(f"a run goes on with the hyper-parameters it began with, {saved}, got {self.config}")
        shutil.copytree(checkpoint_dir, self._folder, dirs_exist_ok=True)
        self._begin(self.config, epoch=self.iteration)

    def cleanup(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def trainable_for(
    method: str,
    dataset: str | dict[str, Any],
    *,
    split: dict[str, Any],
    model: dict[str, Any],
    training: dict[str, Any],
    **fixed: Any,
) -> type[RegularizerTrainable]:
    """The Trainable class of a method on a data set, named after both, as in `CutMixOnDigits`.

    Args:
        method: a method's name, or "my_package.MyMethod".
        dataset: a data set's name, or its settings as in a campaign document.
        split, model, training: as in a campaign document.
        fixed: hyper-parameters of the method that the config will not give.
    Raises:
        ValueError: an unknown method or setting, or one outside its legal range.
    """
    cls = regularizers.get(method)
    settings = TypeAdapter(DatasetSettings).validate_python({"name": dataset} if isinstance(dataset, str) else dataset)
    cls.model_validate(fixed)
    base = Run(
        dataset=settings,
        split=Split.model_validate(split),
        model=TypeAdapter(Model).validate_python(model),
        method=method,
        hyperparameters=fixed,
        training=Training.model_validate(training),
        seed=0,
    )
    return type(f"{cls.__name__}On{type(settings).__name__}", (RegularizerTrainable,), {"base": base})


def param_space(method: str) -> dict[str, Any]:
    """What the repository searches for a method, learning rate and weight decay included, as Ray Tune's domains."""
    return {name: _domain(dimension) for name, dimension in own_space(method).items()}


def _domain(dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return tune.choice(list(dimension.choices))
    low, high = dimension.low, dimension.high
    if isinstance(low, int) and isinstance(high, int):
        return tune.lograndint(low, high + 1) if dimension.log else tune.randint(low, high + 1)
    return tune.loguniform(low, high) if dimension.log else tune.uniform(low, high)
