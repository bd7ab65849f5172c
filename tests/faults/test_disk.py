"""A real disk that is full, for a checkpoint, for a line of the ledger and for the report; then there is room again."""

import errno
import shutil
import socket
import subprocess
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.faults.test_two_drivers import BARE, assert_whole, campaign_in, facts_of, holding, ledger_of, run
from tests.test_checkpoint import a_run, assert_same_weights, stop_after, timeless, weights_in
from tuner.campaign import reading
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.ledger import read
from tuner.campaign.preflight import preflight
from tuner.campaign.study import Study
from tuner.reporting import files
from tuner.search.trainable import CampaignTrainable, assignment
from tuner.training.checkpoint import Checkpoints, SaveError


@contextmanager
def mounted(folder: Path, options: str):
    """A file system of its own in `folder`, made if need be; skips the test where this machine does not let us."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Writes a file until not a byte more fits; the file, to be removed."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_is_told_with_path_and_need_and_the_run_goes_on_once_there_is_room(tmp_path, tally):
    rows = timeless(a_run(checkpoints=Checkpoints(tmp_path / "uninterrupted")))
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "size=2m"):
        list(a_run(checkpoints=Checkpoints(folder), should_stop=stop_after(4)))
        [saved] = folder.iterdir()
        filler = fill(folder)
        with pytest.raises(SaveError) as full:
            list(a_run(checkpoints=Checkpoints(folder, every_seconds=0), should_stop=lambda: False))
        assert full.value.errno == errno.ENOSPC
        tally.fault("disk full")
        assert Path(full.value.filename).parent == folder
        assert "bytes to write, 0 bytes free" in str(full.value)
        assert sorted(folder.iterdir()) == [filler, saved]
        filler.unlink()
        assert timeless(a_run(checkpoints=Checkpoints(folder))) == rows
        assert_same_weights(weights_in(folder), weights_in(tmp_path / "uninterrupted"))


def test_a_campaign_whose_ledger_finds_no_room_stops_and_goes_on_once_there_is(tmp_path, tally):
    whole, campaign = campaign_in(tmp_path / "whole"), campaign_in(tmp_path / "small")
    assert run("run", whole).returncode == 0
    storage = campaign.parent / "runs"
    storage.mkdir()
    with mounted(storage, "size=64m"):
        with holding("ended:3", *BARE, "run", str(campaign)) as first:
            before = ledger_of(campaign).read_bytes()
            filler = fill(storage)
            _, complaint = first.communicate("\n", timeout=60)
        assert first.returncode == 1
        tally.fault("disk full")
        assert f"{ledger_of(campaign)} cannot be written: No space left on device" in complaint
        assert "bytes to write, 0 bytes free" in complaint
        assert "the same command goes on" in complaint
        assert "Traceback" not in complaint
        assert ledger_of(campaign).read_bytes().startswith(before)
        filler.unlink()
        second = run("run", campaign)
        assert second.returncode == 0, second.stderr
        assert_whole(ledger_of(campaign))
        tally.ledger(ledger_of(campaign))
        assert facts_of(ledger_of(campaign)) == facts_of(ledger_of(whole))


def test_a_trial_whose_folder_finds_no_room_goes_on_once_there_is(tmp_path, tally):
    document = reading.load(campaign_in(tmp_path))
    with mounted(tmp_path / "runs", "size=64m,nr_inodes=40"):
        campaign = Campaign.open(document, preflight(document, "two.yaml"))
        trial = campaign.suggest_search(Study("none"), 0, document.paper_setting("none"), {})
        fillers = fill_with_files(tmp_path / "runs")
        before = kinds_in(campaign)
        worker = CampaignTrainable(assignment(campaign, trial))
        [report] = worker.step()["report"]
        assert not campaign.receive(Report(**report))
        assert campaign.stopping
        tally.fault("disk full")
        assert f"No space left on device, on {socket.gethostname()}" in campaign.obstacle
        assert str(campaign.folder.trials) in campaign.obstacle
        assert not trial.ended
        assert kinds_in(campaign) == [*before, "attempt"]
        campaign.close()

        for filler in fillers:
            filler.unlink()
        again = Campaign.open(document, preflight(document, "two.yaml"))
        trial = again.state.trials[trial.id]
        assert worker.reset_config(assignment(again, trial))
        while again.receive(Report(**worker.step()["report"][0])):
            pass
        again.close()
        assert (trial.status, trial.epoch) == ("completed", 4)
        tally.ledger(again.folder.ledger)


def fill_with_files(folder: Path) -> list[Path]:
    """Makes files until there can be no more; these files."""
    made = []
    for number in count():
        try:
            (folder / f"filler-{number}").touch()
        except OSError:
            return made
        made.append(folder / f"filler-{number}")


def kinds_in(campaign: Campaign) -> list[str]:
    return [record["kind"] for record, _ in read(campaign.folder.ledger)]


def test_the_last_report_stays_whole_where_a_new_one_finds_no_room(tmp_path, tally):
    with mounted(tmp_path, "size=1m"):
        page = files.write(tmp_path / "report.html", "old")
        filler = fill(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            files.write(page, "new" * 10_000)
        tally.fault("disk full")
        assert page.read_text() == "old"
        assert sorted(tmp_path.iterdir()) == [filler, page], "no temporary file takes the little room there is"
        filler.unlink()
        assert files.write(page, "new").read_text() == "new"
