import json
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner.campaign.ledger import DamagedLine, Ledger, LedgerError, decode, encode, read
from tuner.campaign.lock import AppendError, Lock
from tuner.campaign.repair import repair


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


def damage(path, *numbers):
    """Changes these lines (from 1 on); returns the lines as they are then."""
    lines = path.read_bytes().splitlines(keepends=True)
    for number in numbers:
        lines[number - 1] = lines[number - 1].replace(b'"kind"', b'"kinb"')
    path.write_bytes(b"".join(lines))
    return lines


@contextmanager
def files_of_at_most(size):
    """No file can grow beyond so many bytes: what is written in part, and then not at all, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_reader_that_starts_in_the_middle_tells_the_right_line(written):
    [*_, (_, offset), _] = read(written)
    with written.open("ab") as file:
        file.write(b"no record\n" + encode({"kind": "note"}))
    with pytest.raises(DamagedLine, match="line 4 is damaged") as found:
        list(read(written, offset))
    assert (found.value.number, found.value.offset) == (4, written.read_bytes().index(b"no record"))


def test_a_line_that_somebody_made_up_is_damaged(written):
    import zlib

    for body in (b"[" * 100_000 + b"}", b'{"a":}', b"}"):
        line = body[:-1] + b',"crc":"%08x"}' % zlib.crc32(body)
        assert decode(line) is None


def test_a_full_disk_stops_the_writer_and_what_it_wrote_in_part_is_taken_back(written):
    ledger, before = Ledger(written), written.read_bytes()
    heard = []
    ledger.listen(heard.append)
    with (
        files_of_at_most(len(before) + 40),
        pytest.raises(AppendError, match=r"too large \(1\d\d bytes to write, .* free"),
    ):
        ledger.append({"kind": "note", "number": 3, "more": "x" * 60})
    assert written.read_bytes() == before
    with pytest.raises(AppendError, match="cannot be written"):  # a record behind a lost one could not be understood
        ledger.append({"kind": "note", "number": 4})
    ledger.close()
    assert heard == []
    ledger = Ledger(written)
    assert ledger.repaired_bytes == 0
    ledger.append({"kind": "note", "number": 3})
    ledger.close()
    assert [record["number"] for record in records_of(written)] == [0, 1, 2, 3]


def test_what_another_process_wrote_nevertheless_is_found_out_before_anything_is_written_behind_it(written):
    ledger = Ledger(written)
    with written.open("ab") as file:
        file.write(encode({"kind": "note", "number": 7}))
    with pytest.raises(AppendError, match="another process changed it"):
        ledger.append({"kind": "note", "number": 3})
    ledger.close()
    assert [record["number"] for record in records_of(written)] == [0, 1, 2, 7]


@pytest.mark.parametrize("numbers", [(2,), (2, 4)])
def test_a_repair_cuts_at_the_first_damaged_line_and_keeps_a_copy(path, numbers):
    ledger = Ledger(path)
    for trial in ("none-000", "none-000", "none-001", "mixup-000", "none-001"):
        ledger.append({"kind": "note", "trial": trial})
    ledger.close()
    lines = damage(path, *numbers)
    lock = Lock(path)
    done = repair(path, lock)
    assert path.read_bytes() == lines[0]
    assert done.backup.read_bytes() == b"".join(lines)
    assert (done.kept, done.lost) == (1, 4)
    assert done.trials == (("none-001", "mixup-000") if len(numbers) == 1 else ("none-001",))
    assert "damaged in line 2 and is cut off before it: 1 lines are left, 4 are lost" in str(done)
    assert repair(path, lock) is None
    ledger = Ledger(path, lock)
    ledger.append({"kind": "note", "trial": "none-000"})
    ledger.close()
    assert len(records_of(path)) == 2


def test_a_repair_of_the_first_line_leaves_nothing_and_says_so(written):
    damage(written, 1)
    lock = Lock(written)
    assert "nothing is left, the campaign begins anew, 3 are lost" in str(repair(written, lock))
    assert Ledger(written, lock).records == []
    lock.close()


def test_each_repair_keeps_its_own_copy(written):
    lock = Lock(written)
    whole = written.read_bytes()
    for number in (3, 2):
        written.write_bytes(whole + encode({"kind": "note"}))
        damage(written, number)
        repair(written, lock)
    lock.close()
    assert len(list(written.parent.glob("*.damaged-*"))) == 2


def test_without_room_for_the_copy_nothing_is_repaired(written):
    lines = damage(written, 1)
    lock = Lock(written)
    with (
        files_of_at_most(10),
        pytest.raises(LedgerError, match=r"cannot be written: File too large.*nothing was changed"),
    ):
        repair(written, lock)
    lock.close()
    assert written.read_bytes() == b"".join(lines)


WRITES_IN_A_TIGHT_LOOP = """
import sys
from pathlib import Path
from tuner.campaign.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("writing", flush=True)
for number in range(400):
    ledger.append(*({"kind": "note", "number": 3 * number + n, "long": "x" * (number * 100)} for n in range(3)))
ledger.close()
"""


def test_readers_never_see_a_damaged_or_half_record_while_it_grows(path):
    command = [sys.executable, "-c", WRITES_IN_A_TIGHT_LOOP, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout.readline() == "writing\n"
        numbers, offset, looks = [], 0, 0
        while True:
            ended = writer.poll() is not None
            for record, end in read(path, offset):
                assert record["long"] == "x" * (record["number"] // 3 * 100)
                numbers.append(record["number"])
                offset = end
            looks += 1
            if ended:
                break
        assert writer.returncode == 0
    assert numbers == list(range(1200))
    assert looks > 20
    assert [record["number"] for record, _ in read(path)] == numbers


def test_a_folder_that_cannot_be_written_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"cannot be written: .*Choose another `storage`"):
        Ledger(tmp_path / "file" / "ledger.jsonl")
