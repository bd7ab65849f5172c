"""What holds of every ledger, however it was cut, read in pieces or damaged: looked for by hypothesis."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.faults.repeatable import repeatable
from tests.search.simulated import FACTS, carry
from tests.search.test_resume import in_folder, outcome
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.document import Document
from tuner.campaign.fold import State
from tuner.campaign.ledger import DamagedLine, Ledger, decode, encode, read
from tuner.campaign.study import Study


class Whole:
    """A campaign that ran through, in a folder that examples may spoil: `restore` before each."""

    def __init__(self, storage: Path):
        self.document: Document = in_folder(storage)
        self.ledger = carry(self.document).folder.ledger
        self.content = self.ledger.read_bytes()
        self.offsets = list(read(self.ledger))
        self.records = [record for record, _ in self.offsets]
        self.outcome = outcome(self.ledger)

    def restore(self, content: bytes) -> None:
        self.ledger.write_bytes(content)


def records_of(ledger: Path) -> list[dict]:
    return [record for record, _ in read(ledger)]


def snapshot(state: State) -> tuple:
    return (
        {name: asdict(trial) for name, trial in state.trials.items()},
        dict(state.rules),
        state.opened,
        state.document,
        state.wall_seconds,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"))


shares = st.floats(0, 1)
"""Where in a file, as a share of its length: shrinks towards its beginning, whatever the length."""


@repeatable(150)
@given(share=shares)
@example(share=0.0)
@example(share=1.0)
def test_cut_at_any_byte_it_opens_with_the_whole_lines_before(whole, share):
    cut = round(share * len(whole.content))
    whole.restore(whole.content[:cut])
    lines = whole.content[:cut].count(b"\n")
    assert records_of(whole.ledger) == whole.records[:lines]
    ledger = opened_and_closed(whole.ledger)
    assert ledger.records == whole.records[:lines]
    assert ledger.repaired_bytes == len(whole.content[:cut].rpartition(b"\n")[2])
    assert whole.ledger.read_bytes() == b"".join(whole.content.splitlines(keepends=True)[:lines])
    State.of(ledger.records)


@repeatable(15)
@given(share=shares)
@example(share=0.0)
@example(share=0.001)  # within the first line
def test_cut_at_any_byte_the_campaign_ends_as_the_uninterrupted_one(whole, share):
    whole.restore(whole.content[: round(share * len(whole.content))])
    carry(whole.document)
    assert outcome(whole.ledger) == whole.outcome


@st.composite
def campaigns(draw) -> list[tuple]:
    """What workers may report, in any order: (what, which of the trials, how many epochs, error, attempts later)."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["none", "mixup", "refit", "rows", "rows", "rows", "interrupted", "failed", "lost"]),
                st.integers(0, 30),
                st.integers(0, 9),
                st.sampled_from([0.1, 0.2, 0.3]),
                st.integers(-1, 2),
            ),
            max_size=30,
        )
    )


def written(document: Document, events: list[tuple]) -> tuple[Path, State]:
    """The ledger of a new campaign to which all this happened, and the state that it had itself at the end."""
    campaign = Campaign.open(document, FACTS)
    ledger, state = campaign.folder.ledger, campaign.state
    for what, which, epochs, error, later in events:
        trials = list(state.trials.values())
        if what in ("none", "mixup"):
            params = {"lr": 0.1, "weight_decay": error}
            campaign.suggest_search(Study(what), len(state.searched(what)), params, {"x": which})
        elif trials:
            trial = trials[which % len(trials)]
            if what == "refit" and trial.kind == "search":
                seed = sum(other.kind == "final" for other in trials)
                campaign.suggest_final(Study(trial.method), trial, seed)
            elif what == "lost":
                campaign.lost(trial.id, "its worker died")
            elif what != "refit":
                row = {"train_loss": 1.0, "val_error": error, "val_nll": error, "seconds": 0.1}
                last = min(trial.epoch + epochs, document.training.epochs)
                rows = [{"epoch": epoch, **row} for epoch in range(max(1, trial.epoch), last + 1)]
                status = "running" if what == "rows" else what
                error = {"class": "E", "message": "ä\n" * which} if what == "failed" else None
                campaign.receive(Report(trial.id, max(1, trial.attempt + later), rows, status, error))
    campaign.close()
    return ledger, state


@repeatable(40)
@given(events=campaigns(), cuts=st.lists(shares, max_size=6))
def test_any_campaign_folds_the_same_in_one_go_in_pieces_and_while_its_file_grows(tmp_path, events, cuts):
    path, lived = written(in_folder(tmp_path), events)
    content, records = path.read_bytes(), records_of(path)
    path.unlink()
    assert snapshot(State.of(records)) == snapshot(lived)

    for cut in cuts:
        state = State.of(records[: round(cut * len(records))])
        for record in records[round(cut * len(records)) :]:
            state.apply(record)
        assert snapshot(state) == snapshot(lived)

    state, offset = State(), 0
    for cut in [*sorted(cuts), 1.0]:
        path.write_bytes(content[: round(cut * len(content))])
        for record, end in read(path, offset):
            state.apply(record)
            offset = end
    path.unlink()
    assert offset == len(content)
    assert snapshot(state) == snapshot(lived)


@repeatable(300)
@given(share=shares, bit=st.integers(0, 7), start=shares)
@example(share=1.0, bit=0, start=0.0)
def test_a_flipped_bit_is_refused_with_its_line_or_cut_off_as_the_tail(whole, share, bit, start):
    at = min(int(share * len(whole.content)), len(whole.content) - 1)
    damaged = bytearray(whole.content)
    damaged[at] ^= 1 << bit
    whole.restore(bytes(damaged))
    line = whole.content[:at].count(b"\n")
    ends = [0, *(end for _, end in whole.offsets)]
    before = int(start * line)  # lines that a reader has read already

    def check(records: list | DamagedLine, known: list) -> None:
        if isinstance(records, DamagedLine):
            assert (records.number, records.offset) == (line + 1, ends[line])
            assert whole.ledger.read_bytes() == bytes(damaged)
        else:
            assert line == len(whole.records) - 1
            assert records == known

    check(outcome_of(lambda: [record for record, _ in read(whole.ledger, ends[before])]), whole.records[before:line])
    check(outcome_of(lambda: opened_and_closed(whole.ledger).records), whole.records[:line])


def outcome_of(reads: Callable[[], list]) -> list | DamagedLine:
    try:
        return reads()
    except DamagedLine as error:
        return error


def opened_and_closed(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.close()
    return ledger


def test_no_single_bit_of_a_line_can_be_flipped_unseen():
    line = encode({"kind": "result", "trial": "mixup-003", "row": {"epoch": 3, "val_error": 0.125}, "time": 1.5})[:-1]
    assert decode(line) is not None
    for at in range(8 * len(line)):
        flipped = bytearray(line)
        flipped[at // 8] ^= 1 << at % 8
        assert decode(bytes(flipped)) is None
