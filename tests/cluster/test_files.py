"""The files of cluster/ against what reads them: Ray's own schema, KubeRay's types, bash, and our own documents."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from tuner.campaign import reading, yaml_file

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
SCHEMA = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text(encoding="utf-8"))


def ray_up() -> tuple[dict, dict]:
    """The cluster file as it stands, and as its block for machines of one's own makes it."""
    text = (CLUSTER / "ray-cluster.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    block = yaml.safe_load("\n".join(re.findall(r"^#((?:\w|  ).*)$", text, re.MULTILINE)))
    own = {key: value for key, value in content.items() if key not in ("available_node_types", "head_node_type")}
    own.pop("max_workers")
    return content, {**own, **block}


@pytest.fixture
def rayjob() -> tuple[dict, dict]:
    with (CLUSTER / "rayjob.yaml").open(encoding="utf-8") as file:
        campaign, job = yaml.safe_load_all(file)
    return campaign, job


@pytest.mark.parametrize("which", [0, 1])
def test_ray_up_takes_the_cluster_file(which):
    import tuner.search  # noqa: F401, I001  # which sets what Ray reads at import
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = ray_up()[which]
    validate_config(prepare_config(content))  # as `ray up` does
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**content, "no_such_key": 1}))


def test_every_node_of_ray_up_wants_the_token_and_the_dashboard_stays_on_loopback():
    for content in ray_up():
        starts = [line for part in ("head", "worker") for line in content[f"{part}_start_ray_commands"]]
        for start in starts:
            assert "ray start" not in start or "RAY_AUTH_MODE=token ray start" in start
            assert "dashboard-host" not in start
        assert content["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
        assert "chmod 600 ~/.ray/auth_token" in content["setup_commands"]
        assert {".git", ".venv", "runs", "best"} <= set(content["rsync_exclude"])


def test_kuberay_takes_the_job(rayjob):
    _, job = rayjob
    jsonschema.validate(job, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "spec": {**job["spec"], "entryPoint": "x"}}, SCHEMA)


def test_the_pods_mount_what_the_entrypoint_and_the_campaign_name(rayjob):
    config, job = rayjob
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pods = [cluster["headGroupSpec"]["template"]["spec"]]
    pods += [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
    for pod in pods:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert set(mounts) == {"/shared", "/campaign"}
            assert set(mounts.values()) <= set(volumes)
    assert volumes["campaign"]["configMap"]["name"] == config["metadata"]["name"]
    [name] = config["data"]
    assert job["spec"]["entrypoint"].endswith(f"run /campaign/{name}")


def test_the_jobs_campaign_is_one_and_lives_on_the_shared_volume(rayjob, tmp_path):
    config, job = rayjob
    path = tmp_path / "campaign.yaml"
    path.write_text(config["data"]["campaign.yaml"], encoding="utf-8")
    document = reading.check(yaml_file.load(path), str(path))
    assert document.folder.is_relative_to("/shared")
    [group] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    [container] = group["template"]["spec"]["containers"]
    has = {**container["resources"]["requests"], **container["resources"]["limits"]}
    assert document.resources.cpu <= float(has["cpu"])
    assert document.resources.gpu <= float(has["nvidia.com/gpu"])


def test_the_job_names_the_ray_that_was_tested(rayjob):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert (
        f"ray=={rayjob[1]['spec']['rayClusterSpec']['rayVersion']}" in project["tool"]["uv"]["constraint-dependencies"]
    )
    assert any(need.startswith("ray[default]") for need in project["project"]["optional-dependencies"]["cluster"])


def test_the_image_has_the_code_where_the_job_looks_for_it(rayjob):
    lines = (CLUSTER / "Containerfile").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines]
    folder = next(line[1] for line in words if line[:1] == ["WORKDIR"])
    assert f"python {folder}/tune.py" in rayjob[1]["spec"]["entrypoint"]
    assert any(f"PATH={folder}/.venv/bin:$PATH" in line for line in lines)
    known = {
        "FROM",
        "RUN",
        "USER",
        "WORKDIR",
        "ENV",
        "COPY",
        "CMD",
        "#",
        "&&",
        "UV_LINK_MODE=copy",
        "PYTHONUNBUFFERED=1",
    }
    assert {line[0] for line in words if line} <= known
    for line in words:
        if line[:1] == ["COPY"]:
            assert all((ROOT / source).exists() for source in line[2:-1])


@pytest.mark.parametrize("script", sorted(CLUSTER.glob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_are_sound(script):
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck here")
    outcome = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout


def test_no_file_ends_a_ray_that_is_not_its_own():
    for path in CLUSTER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "pkill" not in text
        if path.name != "ray-cluster.yaml":  # whose machines serve nothing else
            assert "ray stop" not in text


def test_jobs_leave_campaigns_environments_and_tokens_at_home(tmp_path):
    import tuner.search  # noqa: F401, I001  # which sets what Ray reads at import
    from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

    for name in (".rayignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = get_excludes_from_ignore_files(tmp_path, include_gitignore=True)
    for name in ("runs/x", ".venv/x", "best/x", ".slurm-1-a/token", "a.db", "tuner/__pycache__/x.pyc", ".git"):
        assert any(test(tmp_path / name) for test in ignored), name
    for name in ("tune.py", "tuner/search/driver.py", "search_spaces/mixup.yaml", "campaigns/digits.yaml"):
        assert not any(test(tmp_path / name) for test in ignored), name
