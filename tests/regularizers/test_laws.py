"""What every regularizer obeys. The laws name no method: a new one is judged without a change here."""

import copy
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from tuner.campaign.reading import own_space
from tuner.models import PreActResNet18
from tuner.regularizers import Paper, Regularizer, Step, get, names
from tuner.training.criterion import CRITERIA, soft_cross_entropy

ROOT = Path(__file__).parents[2]
CLASSES = 5

every_method = pytest.mark.parametrize("method", [get(name) for name in names()], ids=names())


def a_net():
    torch.manual_seed(0)
    return PreActResNet18(width=4, blocks=(1, 1, 1, 1)).build(3, CLASSES, 16)


def a_batch(n=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, 16, 16, generator=generator)
    return images, F.one_hot(torch.arange(n) % CLASSES, CLASSES).float()


def a_step(seed, criterion=soft_cross_entropy):
    generator = torch.Generator().manual_seed(seed)
    return Step(criterion=criterion, generator=generator, progress=0.5, mean=(0.5,) * 3, std=(0.25,) * 3)


@every_method
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_loss_is_a_finite_float32_scalar_whose_gradient_reaches_every_parameter(method, criterion):
    for seed in range(4):
        net = a_net()
        loss = method().loss(net, *a_batch(), a_step(seed, criterion))
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        loss.backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@every_method
def test_same_seed_and_same_net_give_the_same_loss(method):
    net, again = (copy.deepcopy(a_net()) for _ in range(2))
    for seed in range(6):
        losses = [method().loss(n, *a_batch(), a_step(seed)) for n in (net, again)]
        assert torch.equal(*losses)


@every_method
def test_every_draw_comes_from_the_step(method):
    net, before = a_net(), torch.random.get_rng_state()
    for seed in range(6):
        method().loss(net, *a_batch(), a_step(seed))
    assert torch.equal(torch.random.get_rng_state(), before)


@every_method
def test_inputs_are_not_modified(method):
    images, targets = a_batch()
    for seed in range(6):
        method().loss(a_net(), images, targets, a_step(seed)).backward()
        assert torch.equal(images, a_batch()[0])
        assert torch.equal(targets, a_batch()[1])


@every_method
def test_eval_draws_nothing_and_is_the_plain_loss(method):
    net, (images, targets), step = a_net().eval(), a_batch(), a_step(0)
    before = step.generator.get_state()
    assert torch.equal(method().loss(net, images, targets, step), soft_cross_entropy(net(images), targets))
    assert torch.equal(step.generator.get_state(), before)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_targets_that_reach_the_criterion_are_distributions(method, dtype):
    reached = []

    def watching(logits, targets):
        reached.append(targets)
        return soft_cross_entropy(logits, targets)

    net = a_net()
    for seed in range(30):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), torch.no_grad():
            method().loss(net, *a_batch(), a_step(seed, watching))
    assert len(reached) >= 30
    for targets in reached:
        assert targets.dtype == torch.float32
        assert targets.min() >= 0
        torch.testing.assert_close(targets.sum(1), torch.ones(6), rtol=0, atol=1e-6)


@every_method
def test_loss_under_bfloat16_autocast_is_finite_float32(method):
    for seed in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            loss = method().loss(a_net(), *a_batch(), a_step(seed))
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()


@every_method
def test_a_batch_of_one_works(method):
    for seed in range(3):
        assert method().loss(a_net(), *a_batch(1), a_step(seed)).isfinite()


@every_method
def test_is_final_frozen_and_refuses_what_it_does_not_know(method):
    assert getattr(method, "__final__", False), "decorate it with typing.final"
    for field in method.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(method(), field, getattr(method(), field))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        method(no_such_parameter=1)


@every_method
def test_hyper_parameters_are_described_sourced_and_legal_by_default(method):
    for name, field in method.model_fields.items():
        assert name not in {"lr", "weight_decay", "seed"}, "that name belongs to the training"
        assert field.description, f"{name} needs a description"
        assert field.json_schema_extra["source"], f"{name} needs the source of its default"
    assert method(**method().model_dump()) == method()
    assert method.model_validate(json.loads(method().model_dump_json())) == method()


@every_method
def test_has_a_paper(method):
    if method.model_fields:  # where there is nothing to tune, there may be nobody to cite
        assert isinstance(method.paper, Paper)
        assert all(vars(method.paper).values())


@every_method
def test_search_space_is_legal_and_contains_the_default(method):
    space = own_space(method.name)  # refuses what is illegal
    own = {name: dimension for name, dimension in space.items() if name in method.model_fields}
    for name, dimension in own.items():
        assert getattr(method(), name) in dimension
        for value in dimension.corners:
            assert getattr(method(**{name: value}), name) == value


@every_method
def test_every_searched_hyper_parameter_changes_the_loss(method):
    """A hyper-parameter that is read nowhere would be tuned for nothing."""
    for name, dimension in own_space(method.name).items():
        if name in method.model_fields:
            first, *_, last = dimension.corners
            losses = [
                [method(**{name: value}).loss(a_net(), *a_batch(), a_step(seed)).item() for seed in range(12)]
                for value in (first, last)
            ]
            assert losses[0] != losses[1], name


@every_method
def test_has_a_test_file_of_its_own(method):
    module = method.__module__.rpartition(".")[2]
    assert (Path(__file__).parent / f"test_{module}.py").exists()


def test_an_unknown_name_is_answered_with_close_ones():
    name = names()[0]
    with pytest.raises(ValueError, match=f"did you mean {name}"):
        get(name + "x")


def test_a_method_from_outside_is_found_by_its_dotted_name(tmp_path, monkeypatch):
    (tmp_path / "outside.py").write_text(
        "from tuner.regularizers import Regularizer\n"
        "class Mine(Regularizer):\n"
        "    name, paper = 'mine', None\n"
        "    def training_loss(self, net, images, targets, step):\n"
        "        return step.criterion(net(images), targets)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert issubclass(get("outside.Mine"), Regularizer)
    for wrong, reason in [
        ("outside.Yours", "no attribute 'Yours'"),
        ("nowhere.Mine", "No module named 'nowhere'"),
        ("outside.Regularizer", "is not abstract"),
        ("pathlib.Path", "derives from Regularizer"),
    ]:
        with pytest.raises(ValueError, match=reason):
            get(wrong)
