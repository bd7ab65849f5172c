"""The counts that the fault tests end with: a tally that misses a loss would prove nothing."""

import pytest

from tests.faults.tally import Tally, summary
from tuner.campaign.ledger import encode

WHOLE = [
    {"kind": "suggested", "trial": "a"},
    {"kind": "result", "trial": "a", "row": {"epoch": 1}},
    {"kind": "result", "trial": "a", "row": {"epoch": 2}},
    {"kind": "ended", "trial": "a"},
]


@pytest.fixture
def recorded():
    return []


@pytest.fixture
def tally(recorded):
    return Tally(lambda name, value: recorded.append((name, value)))


def ledger_of(folder, records):
    path = folder / "ledger.jsonl"
    path.write_bytes(b"".join(map(encode, records)))
    return path


def test_faults_and_whole_ledgers_are_added_up(tmp_path, tally, recorded):
    tally.fault("driver killed", 2)
    tally.fault("disk full")
    tally.ledger(ledger_of(tmp_path, WHOLE))
    tally.ledger(ledger_of(tmp_path, WHOLE))
    assert summary([*recorded, ("another", {"x": 1})]) == [
        "3 faults: disk full 1, driver killed 2.",
        "2 campaigns behind them, 2 trials with 4 epochs: 0 lost, 0 recorded twice.",
    ]
    assert summary([]) == []


@pytest.mark.parametrize(
    ("records", "counts"),
    [
        (WHOLE[:-1], "'lost': 1, 'twice': 0"),  # never ended
        ([WHOLE[0], *WHOLE[2:]], "'lost': 1, 'twice': 0"),  # without its first epoch
        ([*WHOLE[:2], *WHOLE[1:]], "'lost': 0, 'twice': 1"),  # an epoch twice
        ([WHOLE[0], *WHOLE], "'lost': 0, 'twice': 1"),  # suggested twice
        ([*WHOLE, WHOLE[-1]], "'lost': 0, 'twice': 1"),  # ended twice
    ],
)
def test_what_is_lost_or_recorded_twice_is_found(tmp_path, tally, records, counts):
    with pytest.raises(AssertionError, match=counts):
        tally.ledger(ledger_of(tmp_path, records))
