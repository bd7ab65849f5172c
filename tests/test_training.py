"""Schedules, streams and the loop: what a row holds, what methods with one seed share, what is selected."""

import json
import math
from typing import ClassVar

import pytest
import torch
from pydantic import ValidationError

from tuner.datasets.base import Data
from tuner.datasets.image_set import CropAndFlip, ImageSet
from tuner.models import PreActResNet18
from tuner.regularizers import Regularizer, get
from tuner.training.checkpoint import Checkpoints
from tuner.training.fit import fit, validation_rank
from tuner.training.metrics import evaluate
from tuner.training.settings import Training
from tuner.training.streams import generator, global_stream, seed_of

TINY = PreActResNet18(width=4, blocks=(1, 1, 1, 1))


def image_set(n, seed):
    """Two classes, told apart by which half is bright, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 120, (n, 1, 16, 16), generator=generator)
    images[labels == 0, :, :8] += 60
    images[labels == 1, :, 8:] += 60
    return ImageSet(images.to(torch.uint8), labels)


def tiny_data(classes=2, test=True, validation=True):
    return Data(
        train=image_set(22, 0),
        validation=image_set(16, 1) if validation else None,
        test=image_set(12, 2) if test else None,
        classes=classes,
        mean=(0.35,),
        std=(0.2,),
        augmentation=CropAndFlip(1, flip=True),
    )


def training(**changed):
    defaults = {"epochs": 3, "batch_size": 8, "lr": 0.05, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}}
    return Training(**(defaults | changed))


def run(**changed):
    defaults = {"model": TINY, "regularizer": get("none")(), "data": tiny_data(), "training": training(), "seed": 0}
    return list(fit(**(defaults | changed)))


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


# Schedules


def torch_s_lrs(scheduler_of, steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    scheduler, lrs = scheduler_of(optimizer, steps), []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(lrs) < steps:
            scheduler.step()
    return lrs


def one_cycle(optimizer, steps):
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.4, steps, pct_start=0.3, div_factor=25, final_div_factor=1e4, cycle_momentum=False
    )


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def multi_step(optimizer, steps):
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps * 55 // 100, steps * 75 // 100], gamma=0.2)


@pytest.mark.parametrize("steps", [20, 100, 240])
@pytest.mark.parametrize(
    ("schedule", "scheduler_of"),
    [
        ({"name": "onecycle"}, one_cycle),
        ({"name": "cosine"}, cosine),
        ({"name": "step", "at": [0.55, 0.75], "factor": 0.2}, multi_step),
    ],
)
def test_schedules_are_those_of_torch_at_every_step(schedule, scheduler_of, steps):
    share = training(schedule=schedule).schedule.share
    ours = [0.4 * share(step, steps) for step in range(steps)]
    assert ours == pytest.approx(torch_s_lrs(scheduler_of, steps), rel=1e-6)


def test_constant_and_very_short_schedules():
    assert training(schedule={"name": "constant"}).schedule.share(7, 9) == 1
    for steps in range(1, 12):
        shares = [training().schedule.share(step, steps) for step in range(steps)]
        assert all(0 < share <= 1 for share in shares)


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": "3"}, "valid integer"),
        ({"lr": 0}, "greater than 0"),
        ({"lr": math.inf}, "finite"),
        ({"momentum": 1.0}, "less than 1"),
        ({"momentum": 0.0}, "nesterov looks ahead by the momentum, got momentum 0"),
        ({"loss": "mse"}, "'ce' or 'bce'"),
        ({"warmup": 5}, "Extra inputs"),
        ({"schedule": {"name": "linear"}}, "'constant', 'cosine', 'onecycle', 'step'"),
        ({"schedule": {"name": "step", "at": [0.5, 0.5]}}, "must be increasing, got \\[0.5, 0.5\\]"),
        ({"schedule": {"name": "step", "at": [1.0]}}, "less than 1"),
        ({"schedule": {"name": "step", "at": []}}, "at least 1 item"),
    ],
)
def test_illegal_settings_are_refused(wrong, law):
    with pytest.raises(ValidationError, match=law):
        training(**wrong)


def test_settings_survive_json():
    settings = training(schedule={"name": "step", "at": [0.5, 0.75]})
    assert Training.model_validate(json.loads(settings.model_dump_json())) == settings


# Streams


def test_streams_are_addressed_by_their_whole_path():
    paths = [(0, "order", 1), (0, "order", 2), (1, "order", 1), (0, "method", 1), (0, "order"), (0, "order", "1")]
    seeds = {seed_of(*path) for path in paths}
    assert len(seeds) == len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, "order", 1) == 8677279991123922410  # written down: recorded runs must stay repeatable


def test_a_generator_starts_its_stream_anew():
    first, again = (torch.rand(3, generator=generator(0, "method", 5)) for _ in range(2))
    assert torch.equal(first, again)


def test_the_global_stream_is_left_as_it_was():
    before = torch.random.get_rng_state()
    with global_stream(0, "init"):
        first = torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    with global_stream(0, "init"):
        assert torch.equal(torch.rand(3), first)


# The loop


def test_rows_hold_plain_numbers_of_every_epoch_and_the_test_only_at_the_end():
    rows = run()
    epoch_keys = {"epoch", "lr", "train_loss", "val_error", "val_nll", "val_ece", "seconds"}
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(set(row) == epoch_keys for row in rows[:-1])
    assert set(rows[-1]) == epoch_keys | {"selected_epoch", "test_error", "test_nll", "test_ece"}
    assert all(type(value) in (int, float) for row in rows for value in row.values())
    schedule = training().schedule
    assert [row["lr"] for row in rows] == [0.05 * schedule.share(step, 9) for step in (2, 5, 8)]
    assert json.loads(json.dumps(rows)) == rows


def test_it_learns():
    rows = run(training=training(epochs=12))
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert rows[-1]["test_error"] < 0.2


def test_parts_that_are_not_there_are_not_measured():
    last = run(data=tiny_data(validation=False, test=False), training=training(epochs=1))[-1]
    assert set(last) == {"epoch", "lr", "train_loss", "seconds", "selected_epoch"}


def test_top5_error_from_100_classes_on():
    last = run(data=tiny_data(classes=100), training=training(epochs=1))[-1]
    assert {"val_top5_error", "test_top5_error"} <= set(last)


@pytest.mark.parametrize("changed", [{"loss": "bce"}, {"precision": "bf16"}, {"momentum": 0.0, "nesterov": False}])
def test_other_losses_precisions_and_optimizers_train_too(changed):
    # With two classes, binary cross-entropy on the softmax is cross-entropy: take three.
    data = tiny_data(classes=3)
    plain, other = run(data=data), run(data=data, training=training(**changed))
    assert math.isfinite(other[-1]["test_nll"])
    assert other[-1]["test_nll"] != plain[-1]["test_nll"]


def test_one_seed_is_one_run_and_another_seed_another():
    assert timeless(run()) == timeless(run())
    assert run(seed=1)[-1]["test_nll"] != run()[-1]["test_nll"]


class Watching(Regularizer):
    """Writes down what it is given, then changes the net's course by its draws from the method's stream."""

    name: ClassVar[str] = "watching"
    paper: ClassVar[None] = None
    seen: ClassVar[list] = []
    draws: int

    def training_loss(self, net, images, targets, step):
        weights = torch.cat([parameter.flatten() for parameter in net.parameters()]).detach()
        self.seen.append((weights, images, targets, step))
        noise = torch.rand(self.draws, generator=step.generator).sum()
        return step.criterion(net(images), targets) * (1 + noise)


def watch(**changed):
    Watching.seen.clear()
    run(regularizer=Watching(draws=changed.pop("draws", 0)), **changed)
    return Watching.seen.copy()


def test_methods_with_one_seed_share_initialisation_order_and_augmentation():
    calm, noisy = watch(draws=0), watch(draws=3)
    assert len(calm) == len(noisy) == 9
    assert torch.equal(calm[0][0], noisy[0][0])
    assert not torch.equal(calm[1][0], noisy[1][0])  # the methods do differ
    for (_, images, targets, _), (_, other_images, other_targets, _) in zip(calm, noisy, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(targets, other_targets)


def test_seeds_differ_in_initialisation_order_and_method():
    (weights, images, _, step), (other_weights, other_images, _, other_step) = watch(seed=0)[0], watch(seed=1)[0]
    assert not torch.equal(weights, other_weights)
    assert not torch.equal(images, other_images)
    assert step.generator.initial_seed() != other_step.generator.initial_seed()


def test_the_method_is_told_where_it_is():
    seen = watch()
    assert [step.progress for *_, step in seen] == [step / 9 for step in range(9)]
    assert len({step.generator.initial_seed() for *_, step in seen}) == 9
    assert all((step.mean, step.std) == ((0.35,), (0.2,)) for *_, step in seen)
    assert [len(images) for _, images, *_ in seen] == [8, 8, 6] * 3  # the smaller last batch is used
    for _, _, targets, _ in seen:
        assert targets.dtype == torch.float32
        assert targets.shape[1] == 2
        assert torch.equal(targets.sum(1), torch.ones(len(targets)))


def test_every_epoch_has_its_own_order():
    seen = watch()
    firsts = [images for _, images, *_ in seen[::3]]
    assert not any(torch.equal(firsts[epoch], firsts[other]) for epoch, other in ((0, 1), (0, 2), (1, 2)))


def test_the_loop_is_plain_sgd_written_out(tmp_path):
    data, settings = tiny_data(), training(epochs=2)
    run(data=data, training=settings, checkpoints=Checkpoints(tmp_path))

    with global_stream(0, "init"):
        net = TINY.build(channels=1, classes=2, side=16)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches, step = data.train.batches(data, 8, train=True), 0
    for epoch in range(2):
        for images, labels in batches.epoch(generator(0, "order", epoch)):
            sgd.param_groups[0]["lr"] = 0.05 * settings.schedule.share(step, 6)
            net.zero_grad()
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            sgd.step()
            step += 1
    trained = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, weight in net.state_dict().items():
        torch.testing.assert_close(trained[name], weight)


def test_train_loss_weighs_every_image_alike():
    class Counting(Watching):
        def training_loss(self, net, images, targets, step):
            return step.criterion(net(images), targets) * 0 + len(images)

    rows = run(regularizer=Counting(draws=0), training=training(epochs=1))
    assert rows[0]["train_loss"] == pytest.approx((8 * 8 + 8 * 8 + 6 * 6) / 22)


def net_of(tmp_path, data):
    net = TINY.build(data.channels, data.classes, data.height)
    net.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    return net


class Unlearning(Regularizer):
    """Learns in the first half and unlearns in the second, so that the best epoch is not the last."""

    name: ClassVar[str] = "unlearning"
    paper: ClassVar[None] = None

    def training_loss(self, net, images, targets, step):
        return step.criterion(net(images), targets) * (1 if step.progress < 0.5 else -1)


@pytest.mark.parametrize("select", ["last", "best_val"])
def test_test_metrics_are_those_of_the_selected_weights(tmp_path, select):
    data, checkpoints = tiny_data(), Checkpoints(tmp_path)
    rows = run(data=data, training=training(epochs=6), regularizer=Unlearning(), select=select, checkpoints=checkpoints)
    best = min(rows, key=lambda row: (row["val_error"], row["val_nll"], row["epoch"]))
    assert best["epoch"] < 6
    selected = rows[-1] if select == "last" else best
    assert rows[-1]["selected_epoch"] == selected["epoch"]

    net = net_of(tmp_path, data)
    for part, images in (("val", data.validation), ("test", data.test)):
        of_part = evaluate(net, images.batches(data, 32, train=False).epoch())
        expected = selected if part == "val" else rows[-1]
        assert {f"{part}_{name}": value for name, value in of_part.items()}.items() <= expected.items()


def test_ties_go_to_the_nll_then_to_the_earliest_and_nan_loses():
    def rows(*pairs):
        return [{"epoch": i, "val_error": e, "val_nll": n} for i, (e, n) in enumerate(pairs, start=1)]

    def best(*pairs):
        return min(rows(*pairs), key=validation_rank)["epoch"]

    assert best((0.2, 1.0), (0.1, 2.0), (0.3, 0.1)) == 2
    assert best((0.1, 1.0), (0.1, 0.5), (0.1, 0.5)) == 2
    assert best((0.1, math.nan), (0.1, 0.5)) == 2
    assert best((0.1, 0.5), (0.1, math.nan)) == 1


def test_the_best_validation_epoch_needs_validation_images():
    with pytest.raises(ValueError, match="needs validation images"):
        run(data=tiny_data(validation=False), select="best_val")


def test_validation_images_are_looked_at_every_so_often_and_at_the_end():
    rows = run(training=training(epochs=5, evaluate_every=2), select="best_val")
    assert [row["epoch"] for row in rows if "val_error" in row] == [2, 4, 5]
    assert rows[-1]["selected_epoch"] in (2, 4, 5)
    everywhere = run(training=training(epochs=5))
    for seldom, often in zip(rows[:-1], everywhere, strict=False):
        assert seldom["train_loss"] == often["train_loss"]
        assert seldom.get("val_nll", often["val_nll"]) == often["val_nll"]
