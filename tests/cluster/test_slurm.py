"""`cluster/slurm.sh` for real, on an allocation whose two nodes are this machine: srun runs here what it is given."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.joined import bearing, wait_until
from tests.search.test_tune_cli import CONTENT
from tuner.campaign import yaml_file
from tuner.campaign.fold import State
from tuner.campaign.ledger import read

ROOT = Path(__file__).parents[2]

SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""

SCONTROL = """#!/usr/bin/env bash
[[ "$1 $2" == "show hostnames" ]] || exit 1
tr , '\\n' <<<"$3"
"""


class Allocation:
    """A submitted job: the script runs in a copy of nothing but links, where it puts its token."""

    def __init__(self, folder: Path, epochs: int):
        self.mark = f"SLURM_JOB_ID={os.getpid()}"
        self.ray = Path(tempfile.gettempdir()) / f"ray-{os.getpid()}"
        self.submitted = folder / "submitted"
        self.storage = folder / "storage"
        self.submitted.mkdir(exist_ok=True)
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        for name in ("tune.py", "tuner", "search_spaces", "campaigns"):
            if not (self.submitted / name).exists():
                (self.submitted / name).symlink_to(ROOT / name)
        content = {
            **CONTENT,
            "methods": ["none"],
            "training": {**CONTENT["training"], "epochs": epochs},
            "search": {"trials": 2, "scheduler": "fifo"},
            "final": {"seeds": [0], "select": "last"},
            "storage": str(self.storage),
        }
        campaign = folder / "two.yaml"
        campaign.write_text(yaml_file.dump(content), encoding="utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": f"{socket.gethostname()},localhost",
            "SLURM_SUBMIT_DIR": str(self.submitted),
            "SLURM_CPUS_PER_TASK": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        # Slurm has a copy of the script, elsewhere.
        script = folder / "slurm_script"
        script.write_bytes((ROOT / "cluster" / "slurm.sh").read_bytes())
        self.process = subprocess.Popen(
            ["bash", str(script), str(campaign)],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def records(self) -> list[dict]:
        ledger = self.storage / "two" / "ledger.jsonl"
        return [record for record, _ in read(ledger)] if ledger.exists() else []

    def left(self) -> list[int]:
        """The processes that come from it and still run."""
        return bearing(self.mark)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        subprocess.run(["rm", "-rf", self.ray], check=True)


@pytest.mark.timeout(600)
def test_it_saves_at_the_signal_before_the_end_goes_on_when_submitted_again_and_leaves_nothing(tmp_path):
    with Allocation(tmp_path, epochs=40) as job:
        wait_until(lambda: any(record["kind"] == "result" for record in job.records()), 240)
        [token] = job.submitted.glob(".slurm-*/token")
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
        secret = token.read_text()
        assert len(secret) == 64
        job.process.send_signal(signal.SIGTERM)  # to the script alone, as `--signal=B:TERM@120` has it
        output, _ = job.process.communicate(timeout=120)
        assert job.process.returncode == 143, output
        assert secret not in output
        assert job.left() == []
        assert list(job.submitted.glob(".slurm-*")) == []
    assert "2 of 2 nodes are ready" in output
    assert "Interrupted; all is recorded." in output

    with Allocation(tmp_path, epochs=40) as job:
        output, _ = job.process.communicate(timeout=400)
        assert job.process.returncode == 0, output
        assert job.left() == []
        records = job.records()
    trials = State.of(records).trials
    assert {trial.status for trial in trials.values()} == {"completed"}
    for trial in trials:
        epochs = [r["row"]["epoch"] for r in records if r["kind"] == "result" and r["trial"] == trial]
        assert epochs == list(range(1, 41))


def test_without_slurm_it_says_how_it_is_meant():
    outcome = subprocess.run(["bash", ROOT / "cluster" / "slurm.sh"], capture_output=True, text=True)
    assert outcome.returncode != 0
    assert "usage: sbatch cluster/slurm.sh CAMPAIGN" in outcome.stderr
