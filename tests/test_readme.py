"""What README shows works."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tuner import regularizers
from tuner.campaign import reading, yaml_file
from tuner.datasets import dataset_classes
from tuner.models import architectures

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


DOCUMENTS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
OWN_METHOD, IN_ONES_OWN_TUNER = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(autouse=True)
def my_package(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text(OWN_METHOD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_its_documents_are_valid(text, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    assert reading.load(path).name == yaml.safe_load(text)["name"]


def test_its_own_method_goes_through_a_campaign(tmp_path, ray_folder):
    [text] = [text for text in DOCUMENTS if "my_package.Noise" in text]
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    content = yaml_file.load(path)
    content["model"]["width"], content["training"]["epochs"], content["search"]["trials"] = 4, 2, 2
    content |= {"final": {"seeds": [0]}, "storage": str(tmp_path / "runs")}
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "RAY_TMPDIR": ray_folder, "OMP_NUM_THREADS": "1"}
    outcome = subprocess.run(
        [sys.executable, str(ROOT / "tune.py"), str(path)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "sigma" in outcome.stdout
    assert "[6/6]" in outcome.stdout


def test_its_python_runs():
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short path, for Ray's sockets
        init = f"import ray; ray.init(include_dashboard=False, _temp_dir={folder!r}, log_to_driver=False)\n"
        script = Path(folder) / "example.py"
        script.write_text(
            IN_ONES_OWN_TUNER.replace("tuner = tune.Tuner(", f"{init}tuner = tune.Tuner("), encoding="utf-8"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": folder, "OMP_NUM_THREADS": "1"}
        environment.pop("RAY_ENABLE_UV_RUN_RUNTIME_ENV", None)  # other tests set it, users do not
        outcome = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=200, cwd=folder
        )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "cutmix_prob" in outcome.stdout.splitlines()[-1]


CATALOGUE = README.split("## Methods, models, data sets")[1].split("\n## ")[0]


def test_its_catalogue_has_everything_with_a_test_that_exists():
    rows = re.findall(r"^\| (`[^|]*)\|[^|]*\|([^|]*)\|", CATALOGUE, re.MULTILINE)
    named = {name: links for names, links in rows for name in re.findall(r"`(\w+)`", names)}
    assert {*regularizers.names(), *architectures(), *dataset_classes()} == set(named)
    for name, links in named.items():
        tests = re.findall(r"`(tests/[\w/.]+)`", links)
        assert tests, name
        assert all((ROOT / test).exists() for test in tests), name


FAULTS = README.split("## What happens when something breaks")[1].split("\n## ")[0]


def test_its_faults_have_tests_that_exist_and_its_fault_tests_are_all_there():
    links = re.findall(r"^\|[^|]+\|[^|]+\|([^|]+)\|$", FAULTS, re.MULTILINE)[2:]
    named = [re.findall(r"`(tests/[\w/]+\.py)`", link) for link in links]
    assert all(named)
    paths = {path for row in named for path in row}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    written = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert written <= paths, "a fault that is tested and not told"


def test_every_path_in_its_tree_exists():
    tree = re.findall(r"^(\s*)([\w.]+/?)\s{2,}", README.split("## What is where")[1], re.MULTILINE)
    for indent, name in tree:
        assert (ROOT / ("tuner" if indent.strip("\n") else "") / name).exists(), name
