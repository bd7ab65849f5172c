"""What the probe reads off the clock, on a clock that the training itself drives."""

import pytest

from tuner.search import probe


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Training:
    """Batches of known length, and a look at the validation images of 50 s behind every `batches_per_epoch`."""

    def __init__(self, clock, seconds, batches_per_epoch):
        self.clock, self.seconds, self.batches_per_epoch = clock, seconds, batches_per_epoch

    def rows(self, device, should_stop):
        for number, seconds in enumerate(self.seconds, start=1):
            if should_stop():
                return
            self.clock.now += seconds
            if number % self.batches_per_epoch == 0:
                self.clock.now += 50
                yield {}


@pytest.fixture
def measured(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(probe, "time", clock)

    def measure(seconds, batches_per_epoch):
        return probe.measure({"any": Training(clock, seconds, batches_per_epoch)}, "cpu")["any"]

    return measure


def test_the_mean_of_warm_batches_counts_without_the_validation(measured):
    # the first two warm up, the fourth holds a validation; 1, 1 and 3 are left before there is enough
    assert measured([100, 100, 1, 3, 1, 3, 1, 3], batches_per_epoch=4) == pytest.approx((1 + 1 + 3) / 3)


def test_it_goes_on_for_half_a_second(measured):
    # dear and cheap batches in turn, as a method has them that works on every other one
    assert measured([9, 9, *[0.01, 0.03] * 100], batches_per_epoch=1000) == pytest.approx(0.02, rel=0.05)


def test_where_every_batch_is_an_epoch_the_validation_is_in_it(measured):
    assert measured([9, 9, 2, 2, 2, 2, 2, 2], batches_per_epoch=1) == pytest.approx(52)


def test_a_training_that_is_over_at_once_still_has_a_step(measured):
    assert measured([2, 2, 2], batches_per_epoch=3) == pytest.approx(2)
    assert measured([2], batches_per_epoch=1) == 0
