"""The training loop: one net, one regularizer, one seed; one row for each epoch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.datasets.base import Data, Images
from tuner.models import Model
from tuner.regularizers.base import Regularizer, Step
from tuner.training.checkpoint import Checkpoints
from tuner.training.criterion import CRITERIA
from tuner.training.metrics import evaluate
from tuner.training.settings import Training
from tuner.training.sgd import SGD
from tuner.training.streams import generator, global_stream

Row = dict[str, Any]


def never() -> bool:
    return False


@dataclass
class Position:
    """Where a run stands between two batches: what a checkpoint holds besides the net and the optimizer."""

    rows: list[Row] = field(default_factory=list)  # of the epochs that are over
    best_weights: dict[str, Tensor] | None = None  # of the best of them, where the best is to be selected
    batch: int = 0  # batches done of the epoch that is not over
    loss_sum: Tensor | float = 0.0  # over the images in them
    seconds: float = 0.0  # spent on them


def fit(
    *,
    model: Model,
    regularizer: Regularizer,
    data: Data,
    training: Training,
    seed: int,
    select: Literal["last", "best_val"] = "last",
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
    should_stop: Callable[[], bool] = never,
) -> Iterator[Row]:
    """Trains a net and yields one row an epoch, of plain numbers: errors and ECE in [0, 1], NLL in nats.

    The last row also has `selected_epoch` and, where there is a test set, what that epoch's weights reach on it. A run
    that finds a checkpoint of itself first yields the rows in it again, then goes on; on the CPU its rows are bitwise
    those of an uninterrupted run, but for `seconds`. Once `should_stop` is true it saves its position and returns.

    Raises ValueError if the best validation epoch is to be selected and there are no validation images.
    """
    if select == "best_val" and data.validation is None:
        raise ValueError("select='best_val' needs validation images and got none; select='last' does without")

    device = torch.device(device)
    data = data.to(device)
    with global_stream(seed, "init"):
        net = model.build(data.channels, data.classes, min(data.height, data.width))
    net = net.to(device)
    optimizer = SGD(net.parameters(), training)
    batches = data.train.batches(data, training.batch_size, train=True)
    steps = training.epochs * len(batches)

    run = f"{model!r} {regularizer!r} {training!r} seed={seed} select={select}"
    at = Position()
    if checkpoints and (saved := checkpoints.load(run)):
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        at = Position(**saved["position"])
        yield from map(dict, at.rows)

    while (epoch := len(at.rows)) < training.epochs:
        started = time.perf_counter() - at.seconds
        net.train()
        for images, labels in batches.epoch(generator(seed, "order", epoch), start_batch=at.batch):
            stopping = should_stop()
            if checkpoints and (stopping or checkpoints.due()):
                at.seconds = time.perf_counter() - started
                state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "position": vars(at)}
                checkpoints.save({"run": run, **state}, step=epoch * len(batches) + at.batch)
            if stopping:
                return

            step = epoch * len(batches) + at.batch
            lr = training.lr * training.schedule.share(step, steps)
            facts = Step(
                criterion=CRITERIA[training.loss],
                generator=generator(seed, "method", step),
                progress=step / steps,
                mean=data.mean,
                std=data.std,
            )
            with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                loss = regularizer.loss(net, images, F.one_hot(labels, data.classes).float(), facts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(lr)
            # Summed on the device: to read a number here would make the host wait for every step.
            at.loss_sum = at.loss_sum + loss.detach() * len(images)
            at.batch += 1

        row = {"epoch": epoch + 1, "lr": lr}
        row["train_loss"] = float(at.loss_sum) / len(data.train)
        if data.validation is not None and training.evaluates(epoch + 1):
            row |= measured("val", net, data.validation, data, training)
        row["seconds"] = time.perf_counter() - started

        at = Position(rows=[*at.rows, row], best_weights=at.best_weights)
        selected = min(at.rows, key=validation_rank) if select == "best_val" else row
        if select == "best_val" and selected is row:
            at.best_weights = {name: weight.clone() for name, weight in net.state_dict().items()}
        if row["epoch"] == training.epochs:
            row["selected_epoch"] = selected["epoch"]
            if data.test is not None:
                net.load_state_dict(at.best_weights or net.state_dict())
                row |= measured("test", net, data.test, data, training)
                if checkpoints:
                    checkpoints.save_weights(net.state_dict())
        yield dict(row)


def measured(part: str, net: nn.Module, images: Images, data: Data, training: Training) -> Row:
    """Every metric of the net on one set of images, as `<part>_<metric>`."""
    batches = images.batches(data, training.batch_size, train=False)
    return {f"{part}_{metric}": value for metric, value in evaluate(net, batches.epoch()).items()}


def validation_rank(row: Row) -> tuple[float, float]:
    """Least error first, then least NLL; of equals, `min` takes the earliest. No number loses to every number."""
    nll = row.get("val_nll", math.inf)
    return row.get("val_error", math.inf), math.inf if math.isnan(nll) else nll
