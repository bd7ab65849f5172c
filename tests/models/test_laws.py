"""What holds for every net: sizes of the official codes, cuts at any depth, maps of any size, settings told apart."""

import importlib
import inspect
import pkgutil

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

import tuner.models
from tests.models.narrow import NARROW
from tuner.models import Model, architectures, map_sides
from tuner.models.base import Architecture
from tuner.paper import Paper

EACH = pytest.mark.parametrize("name", architectures())


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("preactresnet18", 32, {10: 11_171_146, 100: 11_217_316, 200: 11_268_616}),
        ("preactresnet34", 32, {10: 21_279_306, 100: 21_325_476, 200: 21_376_776}),
        ("wrn28_10", 32, {10: 36_489_290, 100: 36_546_980, 200: 36_611_080}),
        ("resnet50", 224, {1000: 25_557_032}),
        ("resnet101", 224, {1000: 44_549_160}),
        ("resnet152", 224, {1000: 60_192_808}),
    ],
)
def test_as_many_parameters_as_in_the_official_code(name, side, expected):
    assert {classes: architectures()[name]().parameter_count(3, classes, side) for classes in expected} == expected


def test_parameters_are_counted_as_built_and_without_a_draw():
    settings = NARROW["wrn28_10"]
    before = torch.get_rng_state()
    count = settings.parameter_count(1, 5, 16)
    assert torch.equal(torch.get_rng_state(), before)
    assert count == sum(parameter.numel() for parameter in settings.build(1, 5, 16).parameters())


@EACH
def test_a_cut_at_any_depth_changes_nothing(name):
    net, images = NARROW[name].build(3, 5, 32).eval(), torch.randn(2, 3, 32, 32)
    assert type(net) is nn.Sequential
    assert list(dict(net.named_children()))[:2] == ["stem", "layer1"]
    assert list(dict(net.named_children()))[-1] == "head"
    logits = net(images)
    assert logits.shape == (2, 5)
    for depth in range(len(net) + 1):
        hidden = net[:depth](images)
        kept = hidden.clone()
        assert torch.equal(net[depth:](hidden), logits)
        assert torch.equal(hidden, kept)  # a stage that works in place would change what a method holds on to


@EACH
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (40, 24), (64, 96), (224, 224)])
def test_map_sides_are_those_of_the_real_maps(name, height, width):
    net = NARROW[name].build(1, 5, min(height, width))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    sides = map_sides(net, 1, height, width)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    maps = [net[:depth](torch.zeros(2, 1, height, width)) for depth in range(len(net))]
    assert [tuple(hidden.shape[-2:]) for hidden in maps] == sides


@EACH
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 32)])
def test_a_batch_of_one_gives_every_parameter_a_gradient(name, height, width):
    net = NARROW[name].build(3, 5, 32)
    net(torch.randn(1, 3, height, width)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in net.parameters())


@EACH
def test_the_seed_alone_makes_the_weights(name):
    def built(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in NARROW[name].build(3, 5, 32).parameters()])

    assert torch.equal(built(0), built(0))
    assert not torch.equal(built(0), built(1))


@EACH
def test_settings_are_told_apart_by_name_and_read_back(name):
    read = TypeAdapter(Model)
    assert read.validate_python({"name": name}) == architectures()[name]()
    assert read.validate_json(read.dump_json(NARROW[name])) == NARROW[name]


def test_strict_settings():
    read = TypeAdapter(Model).validate_python
    assert read({"name": "preactresnet34", "blocks": [1, 1, 1, 1]}).blocks == (1, 1, 1, 1)
    for wrong in ({"name": "preactresnet50"}, {"width": 64}):
        with pytest.raises(ValidationError, match="union_tag"):
            read(wrong)
    for wrong in ({"width": "64"}, {"width": 0}, {"depth": 18}, {"blocks": [2, 2, 2]}, {"blocks": [2, 2, 2, 0]}):
        with pytest.raises(ValidationError):
            read({"name": "preactresnet18", **wrong})


def test_no_final_architecture_of_the_folder_is_forgotten():
    files = [
        importlib.import_module(f"tuner.models.{file.name}") for file in pkgutil.iter_modules(tuner.models.__path__)
    ]
    classes = {value for file in files for value in vars(file).values() if inspect.isclass(value)}
    final = {cls for cls in classes if issubclass(cls, Architecture) and getattr(cls, "__final__", False)}
    assert set(architectures().values()) == final
    assert all(isinstance(cls.paper, Paper) and cls.__doc__ for cls in final)
    assert list(architectures()) == [cls().name for cls in architectures().values()]
