"""Grids, and spaces whose settings can be counted."""

import pytest
from pydantic import ValidationError

from tests.campaign.test_document import faults_of
from tuner.campaign import reading
from tuner.campaign.lattice import all_settings, grid, grid_setting, grid_trials
from tuner.campaign.spaces import Choices, Range, contains


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Range(low=0.0, high=1.0), (0.0, 0.5, 1.0)),
        (Range(low=0.01, high=1.0, log=True), (0.01, 0.1, 1.0)),
        (Range(low=0.0001, high=0.003, log=True, points=2), (0.0001, 0.003)),
        (Range(low=0.12345678, high=0.3, points=4), (0.12345678, 0.182305, 0.241152, 0.3)),
        (Range(low=1, high=9, points=5), (1, 3, 5, 7, 9)),
        (Range(low=1, high=16, points=5, log=True), (1, 2, 4, 8, 16)),
        (Range(low=1, high=2, points=5), (1, 2)),
        (Choices(choices=(3, 5, (0, 1))), (3, 5, (0, 1))),
    ],
)
def test_the_values_of_a_grid(dimension, values):
    assert dimension.grid == values
    assert all(value in dimension for value in values)


def test_a_grid_has_two_points_at_least():
    with pytest.raises(ValidationError, match="points"):
        Range(low=0.0, high=1.0, points=1)


def test_points_and_their_numbers():
    lattice = grid({"a": Choices(choices=(1, 2)), "b": Range(low=0.0, high=1.0), "c": Choices(choices=((0,), (0, 1)))})
    points = [lattice.point(index) for index in range(lattice.size)]
    assert lattice.size == 12
    assert len({tuple(point.values()) for point in points}) == 12
    assert [lattice.index(point) for point in points] == list(range(12))
    assert lattice.index({"a": 2, "b": 0.5, "c": [0, 1]}) == lattice.index({"a": 2, "b": 0.5, "c": (0, 1)})
    assert lattice.index({"a": 2, "b": 0.4, "c": (0,)}) is None


def test_a_space_can_be_counted_where_no_range_is_continuous():
    countable = {"a": Range(low=1, high=4), "b": Choices(choices=(1, 2))}
    assert all_settings(countable).size == 8
    assert all_settings({**countable, "c": Range(low=0.0, high=1.0)}) is None


SPACE = {"a": Choices(choices=(1, 2, 3)), "b": Range(low=0.0, high=1.0)}


@pytest.mark.parametrize(
    ("paper", "first", "count"),
    [
        ({"a": 1, "b": 0.25}, 1, 10),  # in the space, no point: tried beside the grid
        ({"a": 1, "b": 0.5}, 1, 9),  # a point: not tried again
        ({"a": 1, "b": 2.0}, 0, 9),  # outside of the space: not tried
    ],
)
def test_a_grid_is_tried_once_in_an_order_of_the_seed(paper, first, count):
    def order(seed):
        return [grid_setting(SPACE, paper, number, seed) for number in range(first, grid_trials(SPACE, paper))]

    assert grid_trials(SPACE, paper) == count
    assert len({tuple(point.values()) for point in order(0)}) == len(order(0)) == count - first
    assert paper not in order(0)
    assert sorted(map(str, order(0))) == sorted(map(str, order(1)))
    assert order(0) != order(1)


def test_a_list_that_was_a_tuple_lies_in_the_space():
    space = {"layers": Choices(choices=((0,), (0, 1)))}
    assert contains(space, {"layers": [0, 1]})
    assert not contains(space, {"layers": [1]})
    assert not contains(space, {})


def grid_content(content, points):
    content["methods"] = ["none"]
    content["search"] = {**content["search"], "sampler": "grid", "trials": 100}
    content["spaces"] = {"shared": {"lr": {"low": 0.01, "high": 0.3, "log": True, "points": points}}}
    return content


def test_a_study_ends_with_its_grid(content):
    """lr 0.1 lies between the four points, and is trial 0."""
    document = reading.check(grid_content(content, 4), "small.yaml")
    assert document.most_trials("none") == 5
    assert document.space("none")["lr"].points == 4
    assert reading.check(document.as_yaml(), "small.yaml") == document


def test_a_grid_larger_than_its_study_is_not_tried_whole(content):
    grid_content(content, 4)["search"]["trials"] = 3
    assert reading.check(content, "small.yaml").most_trials("none") == 3


def test_grids_and_spaces_that_cannot_work_are_refused(content):
    grid_content(content, 1000)["search"]["warm_start"] = "earlier"
    content["spaces"]["none"] = {}
    content["spaces"]["shared"]["weight_decay"] = {"low": 0.0, "high": 1.0, "points": 1000}
    assert reading.check({**content, "search": {**content["search"], "warm_start": None}}, "small.yaml")
    content["methods"] = ["none", "mixup"]
    faults = faults_of(content)
    assert "the grid of mixup has 3,000,000 points, and at most 1,000,000" in faults["search.sampler"]
    assert faults["search.warm_start"] == "a grid learns from nothing; use another sampler."
    content["methods"], content["search"] = ["none"], {**content["search"], "warm_start": None}
    content["search"] = {**content["search"], "sampler": "cmaes"}
    content["spaces"] = {"shared": {"lr": {"choices": [0.1, 0.2]}}}
    assert faults_of(content) == {
        "search.sampler": "cmaes moves ranges, and the space of none has none; use tpe, random, gp or grid."
    }
