import json
import multiprocessing

import pytest

from tuner.campaign.ledger import Ledger, LedgerError, decode, encode, read


def records_of(path):
    return [{key: value for key, value in record.items() if key != "time"} for record, _ in read(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "campaign" / "ledger.jsonl"


@pytest.fixture
def written(path):
    """A ledger of three records, closed."""
    ledger = Ledger(path)
    for number in range(3):
        ledger.append({"kind": "note", "number": number})
    ledger.close()
    return path


def test_every_line_is_json_and_carries_a_checksum(written):
    for line in written.read_bytes().splitlines():
        assert json.loads(line)["kind"] == "note"
        assert decode(line) is not None
        damaged = line.replace(b'"note"', b'"nota"')
        assert decode(damaged) is None


def test_nan_never_gets_in():
    with pytest.raises(ValueError, match="Out of range float"):
        encode({"value": float("nan")})


def test_a_record_is_on_the_disk_before_a_listener_hears_of_it(path):
    ledger = Ledger(path)
    seen = []
    ledger.listen(lambda record: seen.append((record["number"], len(records_of(path)))))
    ledger.append({"kind": "note", "number": 7})
    ledger.append({"kind": "note", "number": 8}, {"kind": "note", "number": 9})
    assert seen == [(7, 1), (8, 3), (9, 3)]
    assert all("time" in record for record, _ in read(path))


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_torn_last_line_is_cut_off_and_said(written, lost):
    whole = written.read_bytes()
    written.write_bytes(whole[:-lost])
    assert [record["number"] for record in records_of(written)] == [0, 1]
    ledger = Ledger(written)
    assert [record["number"] for record in ledger.records] == [0, 1]
    assert ledger.repaired_bytes == len(whole.splitlines(keepends=True)[2]) - lost
    ledger.append({"kind": "note", "number": 2})
    assert [record["number"] for record in records_of(written)] == [0, 1, 2]


def test_a_damaged_line_in_the_middle_is_refused_and_nothing_is_changed(written):
    lines = written.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"number":1', b'"number":5')
    written.write_bytes(b"".join(lines))
    before = written.read_bytes()
    with pytest.raises(LedgerError, match="line 2 is damaged"):
        Ledger(written)
    assert written.read_bytes() == before


def test_reading_goes_on_where_it_ended(written):
    [(first, offset)] = [pair for pair, _ in zip(read(written), range(1), strict=False)]
    assert first["number"] == 0
    assert [record["number"] for record, _ in read(written, offset)] == [1, 2]


def _try_to_open(path, answers):
    try:
        Ledger(path)
        answers.put("opened")
    except LedgerError as error:
        answers.put(str(error))


def test_a_second_writer_is_refused_while_the_first_lives(path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    first = Ledger(path)
    second = context.Process(target=_try_to_open, args=(path, answers))
    second.start()
    assert "already runs" in answers.get(timeout=60)
    second.join()
    first.close()
    Ledger(path).close()
