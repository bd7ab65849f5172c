"""Who may import whom, and that no method is named outside its own files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tuner import regularizers

ROOT = Path(__file__).parents[1]

CORE = {"paper", "regularizers", "models", "datasets", "training"}
ALLOWED = {
    "regularizers": CORE,
    "models": CORE,
    "datasets": CORE,
    "training": CORE,
    "campaign": CORE | {"campaign"},
    "search": CORE | {"campaign", "search"},
    "tracking": CORE | {"campaign", "tracking"},
    "reporting": CORE | {"campaign", "reporting"},
    "commands": CORE | {"campaign", "search", "tracking", "reporting", "commands"},
}
ONLY_IMPORTER = {"ray": "search", "optuna": "search", "cmaes": "search", "mlflow": "tracking"}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    for path in sorted((ROOT / "tuner").rglob("*.py")):
        if path.parent.name != "tuner":
            yield path.relative_to(ROOT / "tuner").parts[0], path


def test_packages_import_downwards_only():
    for package, path in modules():
        for name in imports_of(path):
            if name.startswith("tuner."):
                assert name.split(".")[1] in ALLOWED[package], f"{path.name} imports {name}"


def test_heavy_libraries_have_one_importer_each():
    for package, path in modules():
        for name in imports_of(path):
            owner = ONLY_IMPORTER.get(name.split(".")[0], package)
            assert owner == package, f"{path.name} imports {name}"


def test_the_training_core_runs_without_ray_optuna_and_mlflow():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['ray', 'optuna', 'mlflow', 'torchvision']));"
        "import tuner.training.fit, tuner.datasets, tuner.models, tuner.regularizers as r; r.names();"
        "import tuner.campaign.campaign"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def names_in(path):
    """Every identifier and every whole string of a module; titles and docstrings may speak of what they like."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Constant(str(text)):
                yield text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


@pytest.mark.parametrize("name", [name for name in regularizers.names() if name != "none"])
def test_no_method_is_named_outside_its_file(name):
    cls = regularizers.get(name)
    own = Path(sys.modules[cls.__module__].__file__)
    for path in [*(path for _, path in modules()), ROOT / "tune.py", ROOT / "report.py"]:
        if path != own:
            assert not {name, cls.__name__} & set(names_in(path)), f"{path.relative_to(ROOT)} names {name}"


def test_there_is_no_room_for_everything():
    names = {path.stem for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    assert not names & {"utils", "util", "common", "helpers", "misc"}
