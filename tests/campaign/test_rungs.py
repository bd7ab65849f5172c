import random
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from tuner.campaign.rungs import Rungs, rung_epochs


def test_rungs_double_and_none_is_at_the_last_epoch():
    assert rung_epochs(15, 2, 60) == (15, 30)
    assert rung_epochs(15, 2, 61) == (15, 30, 60)
    assert rung_epochs(1, 4, 64) == (1, 4, 16)
    assert rung_epochs(60, 2, 60) == ()


def test_by_hand():
    rungs = Rungs((5,), reduction=2)
    assert rungs.passes(5, 0.9)  # the first always does
    rungs.record(5, "a", 0.4)
    assert not rungs.passes(5, 0.41)
    assert rungs.passes(5, 0.4)
    rungs.record(5, "b", 0.2)  # the median of 0.4 and 0.2 is 0.3
    assert rungs.passes(5, 0.3)
    assert not rungs.passes(5, 0.31)


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_decides_as_rays_own_rule(reduction):
    draw = random.Random(reduction)
    ours, rays = Rungs((10,), reduction), _Bracket(10, 11, reduction, 0)
    for number in range(200):
        value = round(draw.random(), 2)
        goes_on = rays.on_result(SimpleNamespace(trial_id=str(number)), 10, -value) == TrialScheduler.CONTINUE
        assert ours.passes(10, value) == goes_on
        ours.record(10, str(number), value)
