"""`report.py` as it is typed."""

import os

import pytest

import report
from tuner.campaign.reading import load


@pytest.fixture
def typed(capsys):
    """Runs `report.py ...`; exit code, what was printed, what was complained of."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            report.main([*map(str, arguments)])
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_shows_the_campaign_that_was_written_last(book, finished, typed):
    storage = finished.folder.root.parent
    other = book(name="other")
    os.utime(other.folder.ledger, (1, 1))
    code, out, _ = typed("--storage", storage)
    assert code == 0
    assert "cutmix has the lowest mean test error (6.10 %)." in out
    assert "6.10 ± 1.10" in out
    for name in ("report/index.html", "report/report.md", "report/results.csv", "best/cutmix.yaml"):
        assert (finished.folder.root / name).exists()
    assert f"uv run tune.py rerun {finished.folder.best / 'cutmix.yaml'}\n" in out
    assert not other.folder.report.exists()


def test_a_name_shows_that_campaign_with_and_without_the_command(finished, book, typed):
    storage = book(name="other").folder.root.parent
    plain = typed("literal", "--storage", storage)
    assert plain == typed("show", "literal", "--storage", storage)
    assert "6.10 ± 1.10" in plain[1]


def test_an_unknown_name_lists_the_campaigns(finished, book, typed):
    storage = book(name="other").folder.root.parent
    for command in (["show", "digitz"], ["export", "digitz", "--out", storage / "best"], ["sync", "digitz"]):
        code, out, complaint = typed(*command, "--storage", storage)
        assert (code, out) == (2, "")
        assert 'no campaign "digitz"' in complaint
        assert "literal, other" in complaint


def test_no_campaign_at_all(tmp_path, typed):
    code, _, complaint = typed("--storage", tmp_path)
    assert code == 2
    assert "tune.py" in complaint


def test_a_damaged_ledger_is_told_without_a_traceback(finished, typed):
    text = finished.folder.ledger.read_bytes()
    finished.folder.ledger.write_bytes(text.replace(b'"number":1', b'"number":7', 1))
    code, _, complaint = typed("literal", "--storage", finished.folder.root.parent)
    assert code == 2
    assert "is damaged" in complaint


def test_export_prints_the_commands_that_run_the_files(finished, typed, tmp_path):
    code, out, _ = typed("export", "literal", "--storage", finished.folder.root.parent, "--out", tmp_path / "out")
    assert code == 0
    paths = [line.removeprefix("uv run tune.py rerun ") for line in out.splitlines()]
    assert [load(tmp_path / path).name for path in paths] == ["literal-none", "literal-mixup", "literal-cutmix"]
