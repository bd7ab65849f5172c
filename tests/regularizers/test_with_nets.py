"""Every method trains every kind of net, in both precisions, and learns."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.models.narrow import NARROW
from tuner.datasets import Digits
from tuner.datasets.base import Data
from tuner.datasets.image_set import CropAndFlip, ImageSet
from tuner.models import PreActResNet18
from tuner.regularizers import Step, get, names
from tuner.training.criterion import CRITERIA, soft_cross_entropy
from tuner.training.fit import fit
from tuner.training.settings import Training
from tuner.training.sgd import SGD

every_method = pytest.mark.parametrize("method", [get(name) for name in names()], ids=names())


def two_batches(channels=3, side=32):
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(256, (8, channels, side, side), generator=generator, dtype=torch.uint8)
    return Data(
        train=ImageSet(images, torch.arange(8) % 4),
        validation=None,
        test=None,
        classes=4,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        augmentation=CropAndFlip(2, flip=True),
    )


def training(**changed):
    defaults = {"epochs": 1, "batch_size": 4, "lr": 0.02, "weight_decay": 5e-4, "schedule": {"name": "constant"}}
    return Training(**(defaults | changed))


@every_method
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", ["preactresnet18", "wrn28_10", "resnet50"])
def test_takes_two_optimizer_steps(method, net, precision, monkeypatch):
    steps = []
    take = SGD.step
    monkeypatch.setattr(SGD, "step", lambda self, lr: (steps.append(lr), take(self, lr)))
    (row,) = fit(
        model=NARROW[net],
        regularizer=method(),
        data=two_batches(),
        training=training(precision=precision),
        seed=0,
    )
    assert math.isfinite(row["train_loss"])
    assert len(steps) == 2


@every_method
@pytest.mark.parametrize("loss", CRITERIA)
def test_learns(method, loss):
    """The training loss falls on 64 digits: that of the last epochs lies clearly below that of the first."""
    digits = Digits().training_pool().take(torch.arange(64))
    data = two_batches(channels=1, side=8)
    data = Data(digits, None, None, classes=10, mean=data.mean, std=data.std, augmentation=CropAndFlip(0, flip=False))
    rows = fit(
        model=PreActResNet18(width=8, blocks=(1, 1, 1, 1)),
        regularizer=method(),
        data=data,
        training=training(epochs=20, batch_size=16, lr=0.1 if loss == "ce" else 0.5, loss=loss),
        seed=0,
    )
    losses = [row["train_loss"] for row in rows]
    assert sum(losses[-4:]) / 4 < 0.9 * losses[0]


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_overflows_nowhere_and_keeps_the_labels(method, dtype):
    torch.manual_seed(0)
    # Maps of 64 x 32 x 32 = 65,536 features at every depth: float16 ends at 65,504.
    conv = [nn.Conv2d(64, 64, 1, groups=64) for _ in range(3)]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))
    net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), *conv, head)
    images, targets = torch.randn(4, 3, 32, 32), F.one_hot(torch.arange(4), 5).float()
    reached = []

    def watching(logits, targets):
        reached.append(targets)
        return soft_cross_entropy(logits, targets)

    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        step = Step(watching, generator, progress=0.9, mean=(0.5,) * 3, std=(0.25,) * 3)
        with torch.autocast("cpu", dtype):
            loss = method().loss(net, images, targets, step)
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
        net.zero_grad()
    for labels in reached:
        assert labels.dtype == torch.float32
        assert (labels >= 0).all()
        assert (labels <= 1).all()
        torch.testing.assert_close(labels.sum(1), torch.ones(4), rtol=0, atol=1e-6)
