"""How a campaign stands: by hand on literal ledgers, and on one that grows under a reader of another process."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tuner.campaign import ledger, lock
from tuner.campaign.extension import extended
from tuner.campaign.fold import State
from tuner.campaign.ledger import LedgerError
from tuner.reporting.following import Following
from tuner.reporting.status import Status, show_status, status_of

ROOT = Path(__file__).parents[2]


def shown(book, width=120):
    console = Console(file=io.StringIO(), width=width)
    show_status(book.folder, console)
    return console.file.getvalue()


def cells(text, study):
    return next(line for line in text.splitlines() if line.strip().startswith(f"{study} ")).split()


def at_two_seconds_a_line(book, **changed):
    """The status of a ledger whose line n was written at second 2 n, and which nobody has written since."""
    records = [{**record, "time": 2.0 * n} for n, (record, _) in enumerate(ledger.read(book.folder.ledger))]
    last = records[-1]["time"]
    settings = {"holder": None, "now": last + 1000, "driven_from": 0.0, "last": last, **changed}
    return Status(State.of(records), **settings)


def test_each_study_with_what_is_done_begun_and_left(book):
    made = book()
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    made.search("none", 1, [0.5], "stopped", pruned_at=1)
    made.suggest("none-002", "none", "search", 2, 1, made.document.paper_setting("none"))
    made.search("mixup", 0, [0.9], "diverged", error={"class": "Diverged", "message": "val_nll is nan\nmore"})
    text = shown(made)
    # search, final, running, left, failed, epochs, best val
    assert cells(text, "none") == ["none", "2/3", "0/3", "1", "4", "–", "5", "10.00", "–"]
    assert cells(text, "mixup") == ["mixup", "1/3", "0/3", "–", "5", "1", "1", "–", "–"]
    assert "3 trials ended, 6 epochs" in text
    assert "mixup-000 diverged after epoch 1: Diverged: val_nll is nan\n" in text


def test_a_pipe_of_80_characters_cuts_nothing_off(book):
    made = book(methods=["patchup_hard"], training={"epochs": 300}, search={"trials": 300}, final={"seeds": [0]})
    for number in range(150):
        made.search("patchup_hard", number, [0.5] * 10)
    line = " ".join(cells(shown(made, width=80), "patchup_hard"))
    assert line == "patchup_hard 150/300 0/1 – 151 – 1,500 50.00 –"
    assert "…" not in shown(made, width=80)


def test_pace_and_time_left_by_hand(book):
    made = book(methods=["none"], search={"trials": 4}, final={"seeds": [0]})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])  # line 0 opened it, this one is 1 to 6
    made.search("none", 1, [0.5, 0.3], "stopped", pruned_at=2)  # 7 to 10
    made.suggest("none-002", "none", "search", 2, 1, made.document.paper_setting("none"))
    made.rows("none-002", [0.5])  # 11 and 12
    status = at_two_seconds_a_line(made)
    assert status.epochs_a_minute == pytest.approx(7 / 24 * 60)  # all 7 of the 24 seconds to the last line
    # trials that ended took 3 on average: 2 more of the one that runs, 3 of the last, 4 of the final run
    assert status.epochs_left == 2 + 3 + 4
    assert status.seconds_left == pytest.approx(9 * 24 / 7)
    assert status.wall_seconds == 24


def test_only_the_recent_past_and_only_the_last_drivers_time_counts(book):
    made = book(methods=["none"], training={"epochs": 400}, search={"trials": 1})
    made.search("none", 0, [0.5] * 200, "failed", error={"class": "E", "message": "m"})  # 402 s: its last 149 rows
    assert at_two_seconds_a_line(made).epochs_a_minute == pytest.approx(149 / 300 * 60, rel=0.01)
    late = at_two_seconds_a_line(made, driven_from=382.0)
    assert late.epochs_a_minute == pytest.approx(10 / 22 * 60, rel=0.11)
    assert at_two_seconds_a_line(made, driven_from=404.0).epochs_a_minute is None


def test_an_audited_trial_has_its_whole_length_before_it(book):
    made = book(methods=["none"], search={"trials": 3}, final={"seeds": [0]})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    made.search("none", 1, [0.5, 0.4], "stopped", pruned_at=2)
    made.suggest("none-002", "none", "search", 2, 1, made.document.paper_setting("none"))
    made.rows("none-002", [0.9], {1: "audit"})
    assert at_two_seconds_a_line(made).epochs_left == 3 + 4


def test_a_search_that_found_nothing_has_no_final_runs_left(book):
    made = book(methods=["none"], search={"trials": 1})
    made.search("none", 0, [], "failed", error={"class": "E", "message": "m"})
    status = at_two_seconds_a_line(made)
    assert (status.epochs_left, status.complete) == (0, True)


def test_budgets_and_a_spent_one_leave_nothing_to_suggest(book):
    made = book(methods=["none"], search={"trials": 9, "budget": {"epochs": 4}}, final={"seeds": [0]})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    assert "Spent of 4 epochs for each search: none 4." in shown(made)
    assert cells(shown(made), "none")[1:5] == ["1/1", "0/1", "–", "1"]
    assert at_two_seconds_a_line(made).epochs_left == 4


def test_who_runs_it(book):
    made = book()
    assert f"literal: running, by process {os.getpid()} on " in shown(made)
    made.ledger.close()
    assert "literal: no driver runs it" in shown(made)


def test_a_driver_that_was_killed_is_told_from_one_that_runs(book):
    made = book()
    made.ledger.close()
    code = (
        "import os, signal; from pathlib import Path; from tuner.campaign.lock import Lock;"
        f"lock = Lock(Path({str(made.folder.ledger)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert re.search(r"its driver \(process \d+ on .*\) was killed", shown(made))


def test_a_driver_on_another_machine_shows_its_last_sign_of_life(book, monkeypatch):
    made = book()
    monkeypatch.setattr(lock, "_boot_id", lambda: "another kernel")
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "another-host")
    assert re.search(r"literal: held by process \d+ on .*; last sign of life \d s ago", shown(made))


def test_a_complete_campaign_is_complete(finished):
    text = shown(finished)
    assert "literal: complete" in text
    assert "epochs a minute" not in text
    assert cells(text, "cutmix")[1:5] == ["3/3", "3/3", "–", "0"]


def test_an_extended_campaign_is_open_again_and_shows_the_old_runs_nowhere(finished):
    more = extended(finished.document, "+1", [], None)
    finished.ledger.append({"kind": "extended", "document": more.as_yaml()})
    assert cells(shown(finished), "cutmix")[1:5] == ["3/4", "3/3", "–", "1"]
    finished.search("cutmix", 3, [0.4, 0.3, 0.2, 0.01], cutmix_prob=0.9)
    assert cells(shown(finished), "cutmix")[1:5] == ["4/4", "0/3", "–", "3"]


def test_a_reader_follows_in_pieces_and_sees_whole_lines_only(finished, tmp_path):
    content = finished.folder.ledger.read_bytes()
    finished.ledger.close()
    following = Following(finished.folder)
    for end in range(2000, len(content), 777):
        finished.folder.ledger.write_bytes(content[:end])
        following.catch_up()
    finished.folder.ledger.write_bytes(content)
    status = status_of(following)
    expected = status_of(Following(finished.folder))
    assert status.state.trials == expected.state.trials
    assert status.state.wall_seconds == expected.state.wall_seconds  # no line was folded in twice
    assert (status.driven_from, status.last) == (expected.driven_from, expected.last)


def test_a_ledger_that_was_cut_off_is_read_anew(finished):
    content = finished.folder.ledger.read_bytes()
    finished.ledger.close()
    following = Following(finished.folder)
    following.catch_up()
    finished.folder.ledger.write_bytes(b"".join(content.splitlines(keepends=True)[:10]))
    following.catch_up()
    assert len(following.state.trials) == 2


@pytest.mark.parametrize("content", [None, b"", b'{"kind":"opened"}\n{"kind":"opened"}\n'])
def test_no_ledger_an_empty_and_a_damaged_one_are_refused(book, content):
    made = book()
    made.ledger.close()
    made.folder.ledger.unlink()
    if content is not None:
        made.folder.ledger.write_bytes(content)
    with pytest.raises(LedgerError, match=r"cannot be read|no record yet|damaged"):
        Following(made.folder).catch_up()


def hears_ctrl_c():
    """As a terminal's shell starts a command; these tests' own process may run in the background, deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def watching(book):
    """`tune.py status --watch` on a terminal; gives what reads until a text appears, and the process."""
    ours, theirs = pty.openpty()
    storage = book.folder.root.parent
    command = [sys.executable, "tune.py", "status", "literal", "--storage", str(storage), "--watch"]
    environment = {**os.environ, "COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, preexec_fn=hears_ctrl_c
    )
    os.close(theirs)
    seen = bytearray()

    def until(text):
        deadline = time.monotonic() + 60
        while text not in seen.decode(errors="replace"):
            assert time.monotonic() < deadline, seen.decode(errors="replace")
            try:
                seen.extend(os.read(ours, 65536))
            except OSError:  # the other end was closed
                break
        assert text in seen.decode(errors="replace")
        return seen.decode(errors="replace")

    try:
        yield until, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_watch_follows_a_growing_ledger_and_ends_with_the_campaign(book):
    made = book(methods=["none"], search={"trials": 2}, final={"seeds": [0]})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    with watching(made) as (until, process):
        until("1/2")
        made.search("none", 1, [0.5], "stopped", pruned_at=1)
        until("2/2")
        made.final("none", 0, 0, 0.07)
        text = until("literal: complete")
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in text


def test_ctrl_c_ends_watching_quietly(book):
    made = book()
    with watching(made) as (until, process):
        until("0/3")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in until("0/3")


def test_a_pipe_gets_the_status_once(finished):
    command = [sys.executable, "tune.py", "status", "--storage", str(finished.folder.root.parent), "--watch"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.count("literal: complete") == 1


def test_an_unknown_campaign_is_refused(finished):
    command = [sys.executable, "tune.py", "status", "litral", "--storage", str(finished.folder.root.parent)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "Campaigns there: literal" in outcome.stderr
