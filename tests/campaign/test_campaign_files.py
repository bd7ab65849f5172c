"""The campaigns of the repository: each is a sound document, says where it comes from, and what it names exists."""

import re
from pathlib import Path

import pytest

from tuner import regularizers
from tuner.campaign import reading
from tuner.campaign.preflight import preflight
from tuner.models import map_sides

FILES = sorted((Path(__file__).parents[2] / "campaigns").glob("*.yaml"))
PROTOCOLS = [path for path in FILES if re.match(r"patchup_|region_mixup_", path.name)]

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_file
def test_is_a_sound_document(path):
    document = reading.load(path)
    assert reading.check(document.as_yaml(), path.name) == document


@every_file
def test_a_campaign_is_named_after_its_file(path):
    assert reading.load(path).name == path.stem.replace("_", "-")


@every_file
def test_opens_with_what_it_is_and_costs(path):
    opening = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    if path.stem != "every_method":
        assert re.search(r"^# Cost:", opening, re.MULTILINE)


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: path.stem)
def test_a_protocol_tells_its_paper_its_figures_and_what_is_ours(path):
    opening = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert "https://arxiv.org/abs/" in opening
    assert "Published t" in opening
    assert "# Our choice" in opening
    assert re.search(r"# (Better here|Different, and better)", opening)
    figures = opening[opening.index("Published t") :]
    for method in reading.load(path).methods:
        assert re.search(rf"\b{method.name} +\d+\.\d\d", figures), f"no published figure of {method.name}"


SHAPES = {"digits": (1, 8), "cifar10": (3, 32), "cifar100": (3, 32), "svhn": (3, 32), "tiny_imagenet": (3, 64)}


@every_file
def test_every_method_fits_the_maps_of_the_net(path):
    document = reading.load(path)
    channels, side = SHAPES.get(document.dataset.name, (3, 224))
    sides = map_sides(document.model.build(channels, 10, side), channels, side, side)
    for method in document.methods:
        assert method.regularizer().misfits(sides) == []


def test_the_protocols_of_both_papers_are_there():
    assert {path.stem for path in FILES} >= {
        "patchup_table1_tiny_imagenet",
        "patchup_table2_cifar10",
        "patchup_table2_cifar100",
        "patchup_table2_svhn",
        "patchup_imagenet",
        "region_mixup_table1",
        "cifar10_quick",
    }


def test_every_method_runs_in_the_campaign_of_that_name():
    (path,) = (path for path in FILES if path.stem == "every_method")
    document = reading.load(path)
    assert sorted(method.name for method in document.methods) == regularizers.names()
    preflight(document, path.name)
