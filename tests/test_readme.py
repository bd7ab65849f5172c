"""What README shows works."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tuner.campaign import reading

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_its_documents_are_valid(text, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    assert reading.load(path).name == yaml.safe_load(text)["name"]


def test_its_python_runs():
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short path, for Ray's sockets
        begin = f"import ray; ray.init(include_dashboard=False, _temp_dir={folder!r}, log_to_driver=False)\n"
        script = Path(folder) / "example.py"
        script.write_text(begin + code, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": folder, "OMP_NUM_THREADS": "1"}
        outcome = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=200, cwd=folder
        )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "cutmix_prob" in outcome.stdout.splitlines()[-1]


def test_every_path_in_its_tree_exists():
    tree = re.findall(r"^(\s*)([\w.]+/?)\s{2,}", README.split("## What is where")[1], re.MULTILINE)
    for indent, name in tree:
        assert (ROOT / ("tuner" if indent.strip("\n") else "") / name).exists(), name
