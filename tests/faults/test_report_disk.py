"""`report.py` where it cannot write: a sentence, exit code 2, and everything as it was."""

import pytest

import report
from tests.faults.test_disk import fill, mounted
from tests.search.simulated import carry
from tests.search.test_resume import in_folder


@pytest.fixture
def campaign(tmp_path):
    """The folder of a finished campaign, on a small disk."""
    with mounted(tmp_path / "runs", "size=16m"):
        yield carry(in_folder(tmp_path / "runs")).folder


def typed(*arguments) -> int:
    """The exit code of `report.py ...`."""
    with pytest.raises(SystemExit) as end:
        report.main([*map(str, arguments)])
    return end.value.code


def refusal(capsys, *arguments) -> str:
    assert typed(*arguments) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    return sentence


@pytest.mark.parametrize("before", ["nothing", "a report"])
def test_on_a_full_disk_the_file_is_named_and_what_was_there_stays(campaign, capsys, before):
    storage = campaign.root.parent
    if before == "a report":
        assert typed("show", "cut", "--storage", storage) == 0
    reports = {path: path.read_bytes() for path in campaign.root.rglob("*") if path.is_file()}
    filler = fill(storage)
    sentence = refusal(capsys, "show", "cut", "--storage", storage)
    assert sentence.startswith(f"{campaign.root}/")
    assert "cannot be used: No space left on device" in sentence
    assert "Make room" in sentence
    assert {path: path.read_bytes() for path in campaign.root.rglob("*") if path.is_file()} == reports
    filler.unlink()
    assert typed("show", "cut", "--storage", storage) == 0
    assert (campaign.report / "index.html").exists()


def test_a_folder_that_may_not_be_written_is_named(tmp_path, campaign, capsys):
    with mounted(tmp_path / "read only", "ro"):
        out = tmp_path / "read only" / "best"
        sentence = refusal(capsys, "export", "cut", "--out", out, "--storage", campaign.root.parent)
    assert sentence.startswith(f"{out} cannot be used: Read-only file system")
