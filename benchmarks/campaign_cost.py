"""What a finished campaign took, in runs of a plain training loop on the same machine.

Usage: uv run python -m benchmarks.campaign_cost [NAME]

Machines differ, and one machine differs from hour to hour: a wall time says little without what a single run costs
there. The plain loop is what one would write by hand for one run: the same net with torch's own convolutions, torch's
own SGD and schedule, images normalised once, a crop for each image, a look at the validation images each epoch.
"""

import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from tuner.campaign.fold import State
from tuner.campaign.folder import Folder, last_campaign
from tuner.campaign.ledger import read
from tuner.campaign.run import Run
from tuner.datasets import Data, search_data
from tuner.models.conv3x3 import Conv3x3


def main(name: str | None = None) -> None:
    storage = Path("runs")
    folder = Folder(storage / name) if name else last_campaign(storage)
    records = [record for record, _ in read(folder.ledger)]
    state = State.of(records)
    document = state.document
    torch.set_num_threads(1)

    run = Run(
        dataset=document.dataset,
        split=document.split,
        model=document.model,
        method="none",
        hyperparameters={},
        training=document.training,
        seed=0,
    )
    plain, ours = [], []
    for _ in range(3):  # in turn, so that a slow minute hits both
        plain.append(seconds_of(lambda: plain_run(run, search_data(run.dataset, run.split))))
        ours.append(seconds_of(lambda: list(run.rows("cpu"))))
    wall = records[-1]["time"] - records[0]["time"]
    epochs = sum(trial.epoch for trial in state.trials.values())

    table = Table(title=f"Cost of {document.name}", title_justify="left")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("in plain runs", justify="right")
    unit = min(plain)
    for what, seconds in (
        (f"one plain run of {document.training.epochs} epochs, CPU time, best of 3", unit),
        ("the same run by fit, CPU time, best of 3", min(ours)),
        (f"the campaign, first line of the ledger to the last, {epochs:,} epochs", wall),
    ):
        table.add_row(what, f"{seconds:.1f}", f"{seconds / unit:.2f}")
    Console().print(table)


def seconds_of(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def plain_run(run: Run, data: Data) -> None:
    """One run as one would write it down."""
    training, padding = run.training, data.augmentation.padding
    net = with_torchs_convolutions(run.model.build(data.channels, data.classes, data.height))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    images, validation = ((part.images / 255 - mean) / std for part in (data.train, data.validation))
    padded = F.pad(images, [padding] * 4)
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=training.lr,
        momentum=training.momentum,
        nesterov=training.nesterov,
        weight_decay=training.weight_decay,
    )
    steps = training.epochs * -(-len(images) // training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.lr, steps, cycle_momentum=False)
    for _ in range(training.epochs):
        net.train()
        for batch in torch.randperm(len(images)).split(training.batch_size):
            down, right = torch.randint(2 * padding + 1, (2, len(batch)))
            crops = [
                padded[i, :, y : y + data.height, x : x + data.width]
                for i, y, x in zip(batch.tolist(), down.tolist(), right.tolist(), strict=True)
            ]
            loss = F.cross_entropy(net(torch.stack(crops)), data.train.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            (net(validation).argmax(1) != data.validation.labels).float().mean().item()


def with_torchs_convolutions(net: nn.Sequential) -> nn.Sequential:
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, Conv3x3):
                plain = nn.Conv2d(child.in_channels, child.out_channels, 3, child.stride, padding=1, bias=False)
                setattr(module, name, plain)
    return net


if __name__ == "__main__":
    main(*sys.argv[1:])
