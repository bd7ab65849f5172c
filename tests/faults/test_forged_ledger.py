"""A ledger that somebody else wrote: its checksums hold, and still no name in it leads out of the campaign's folder."""

import os
from pathlib import Path

import pytest

import report
from tests.search.simulated import FACTS
from tests.search.test_resume import in_folder
from tuner.campaign.campaign import Campaign
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import LedgerError, encode, read

OUTSIDE, DEEPER = "../../../outside", "mixup-000/attempt-1"


def forged(storage: Path, **changed) -> Folder:
    """A campaign with one stopped search trial, whose folder is deleted when it is gone on with."""
    document = in_folder(storage)
    Campaign.open(document, FACTS).close()
    folder = Folder(document.folder)
    [opened] = [record for record, _ in read(folder.ledger)]
    name = changed.get("trial", "mixup-000")
    suggested = {"kind": "suggested", "trial": name, "method": "mixup", "trial_kind": "search", "number": 0, "seed": 0}
    suggested["replicate"] = changed.get("replicate", 0)
    row = {"epoch": 1, "train_loss": 1.0, "val_error": 0.5, "val_nll": 1.0, "seconds": 0.1}
    records = [
        {**opened, "document": {**opened["document"], **changed.get("document", {})}},
        {**suggested, "params": {"lr": 0.1}, "attributes": {}, "time": 0.0},
        {"kind": "result", "trial": name, "row": row, "decision": "stop", "time": 0.0},
    ]
    folder.ledger.write_bytes(b"".join(map(encode, records)))
    return folder


@pytest.fixture
def outside(tmp_path):
    """A folder beside the campaign's, with something in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("not the campaign's")
    return folder


def test_the_folder_of_a_stopped_trial_goes_when_its_end_is_recorded(tmp_path):
    folder = forged(tmp_path / "runs")
    folder.trial("mixup-000").mkdir(parents=True)
    Campaign.open(in_folder(tmp_path / "runs"), FACTS).close()
    assert not folder.trial("mixup-000").exists()


@pytest.mark.parametrize("name", [OUTSIDE, "{outside}", "..", ".", "", DEEPER, "a\\b", "a\0b", 7, None, ["a"]])
def test_a_trial_is_named_by_one_file_name(tmp_path, outside, name):
    name = name.format(outside=outside) if isinstance(name, str) else name
    folder = forged(tmp_path / "runs", trial=name)
    folder.trials.mkdir()
    assert name != OUTSIDE or os.path.samefile(folder.trial(name), outside)
    before = folder.ledger.read_bytes()
    with pytest.raises(LedgerError, match=r"names the trial .* one file name"):
        Campaign.open(in_folder(tmp_path / "runs"), FACTS)
    assert (outside / "precious").read_text() == "not the campaign's"
    assert folder.trials.is_dir()
    assert folder.ledger.read_bytes() == before


@pytest.mark.parametrize("replicate", [1, "/../../outside"])
def test_a_trial_belongs_to_a_study_of_the_document(tmp_path, replicate):
    forged(tmp_path / "runs", replicate=replicate)
    with pytest.raises(LedgerError, match=f'the study "mixup-r{replicate}", which its document does not have'):
        Campaign.open(in_folder(tmp_path / "runs"), FACTS)


@pytest.mark.parametrize("command", [["show"], ["export", "--out", "{best}"]], ids=["show", "export"])
@pytest.mark.parametrize("name", ["../outside/mixup", "{outside}/mixup"])
def test_a_configuration_is_written_under_one_file_name(tmp_path, outside, capsys, command, name):
    name = name.format(outside=outside)
    document = {"methods": ["none", name], "spaces": {"shared": {}, "none": {}, name: {}}}
    folder = forged(tmp_path / "runs", document=document)
    command = [word.format(best=tmp_path / "best") for word in command]
    with pytest.raises(SystemExit) as end:
        report.main([command[0], folder.root.name, *command[1:], "--storage", str(tmp_path / "runs")])
    assert end.value.code == 2
    assert f"names the method '{name}'" in capsys.readouterr().err
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert not (tmp_path / "best").exists()


def test_a_link_in_the_place_of_a_trial_is_not_followed(tmp_path, outside):
    folder = forged(tmp_path / "runs")
    folder.trials.mkdir()
    folder.trial("mixup-000").symlink_to(outside)
    Campaign.open(in_folder(tmp_path / "runs"), FACTS).close()
    assert (outside / "precious").read_text() == "not the campaign's"
