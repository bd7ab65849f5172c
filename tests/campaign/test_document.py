"""A wrong document is refused with all of its faults at once; a right one is resolved whole."""

import json

import pytest

from tuner.campaign import reading, yaml_file
from tuner.campaign.document import Document, differences
from tuner.campaign.faults import DocumentError
from tuner.campaign.preflight import preflight
from tuner.campaign.spaces import contains
from tuner.campaign.stopping import stopping_epochs


def faults_of(content):
    with pytest.raises(DocumentError) as refusal:
        reading.check(content, "small.yaml")
    assert all(
        fault.file in ("small.yaml",) or fault.file.startswith("search_spaces") for fault in refusal.value.faults
    )
    return {fault.path: fault.sentence for fault in refusal.value.faults}


def test_a_small_document_is_resolved(small):
    assert list(small.spaces) == ["shared", "none", "mixup"]
    assert set(small.space("none")) == {"lr", "weight_decay"}
    assert set(small.space("mixup")) == {"lr", "weight_decay", "alpha"}
    assert small.paper_setting("mixup") == {"lr": 0.1, "weight_decay": 5e-4, "alpha": 1.0}


def test_what_is_written_reads_back_the_same(small, tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml_file.dump(small.as_yaml()), encoding="utf-8")
    assert reading.load(path) == small
    assert Document.model_validate(json.loads(json.dumps(small.as_yaml()))) == small


def test_all_faults_are_reported_at_once(content):
    content["model"] = {"name": "preactresnet18", "widht": 4}
    content["methods"] = ["none", "mixupp", {"name": "cutmix", "cutmix_prob": 1.5}]
    content["training"] = {**content["training"], "epochs": "many", "schedule": {"name": "onecycel"}}
    content["spaces"] = {"cutmix": {"alpha": {"low": -1, "high": 3}, "cutmix_prob": {"low": 0.5, "hihg": 1}}}
    content["serach"] = {}
    faults = faults_of(content)
    assert 'Did you mean "width"?' in faults["model.widht"]
    assert "did you mean mixup" in faults["methods[1]"]
    assert faults["methods[2].cutmix_prob"] == "got 1.5, must be less than or equal to 1."
    assert faults["training.epochs"] == 'got "many", must be a valid integer.'
    assert 'Did you mean "onecycle"?' in faults["training.schedule"]
    assert "got -1" in faults["spaces.cutmix.alpha.low"]
    assert 'Did you mean "high"?' in faults["spaces.cutmix.cutmix_prob.hihg"]
    assert 'Did you mean "search"?' in faults["serach"]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("training", "lr"), "0.1", 'got "0.1", must be a valid number.'),
        (("training", "epochs"), True, "got true, must be a valid integer."),
        (("search", "trials"), 2.5, "got 2.5, must be a valid integer"),
        (("search", "grace"), "soon", "got \"soon\", must be a valid integer or 'auto'."),
        (("search", "grace"), 9, "got 9, must be at most training.epochs, which is 8."),
        (("search", "reduction"), 1, "got 1, must be greater than or equal to 2."),
        (("name",), "../elsewhere", "should match pattern"),
        (("resources",), {"gpu": 2}, "more than one GPU a trial"),
        (("final",), {"seeds": [1, 1]}, "a seed stands twice"),
        (("final",), {"seeds": [0], "fit_on": "trainval", "select": "best_val"}, "no validation images"),
        (("methods",), ["none", "none"], "stands twice"),
        (("methods",), [], "at least 1 item"),
        (("spaces",), {"mixup": {"alpha": {"choices": [1, 1]}}}, "a choice stands twice"),
        (("spaces",), {"mixup": {"alpha": {"low": 2, "high": 1}}}, "low must be less than high"),
        (("spaces",), {"cutmix": {}}, "is no method of this campaign"),
        (("spaces",), {"shared": {"momentum": {"low": 0.1, "high": 0.9}}}, "has lr, weight_decay"),
    ],
)
def test_each_fault_names_its_place_and_its_law(content, path, value, sentence):
    place = content
    for key in path[:-1]:
        place[key] = dict(place[key])
        place = place[key]
    place[path[-1]] = value
    faults = faults_of(content)
    assert len(faults) == 1
    [(where, said)] = faults.items()
    assert where.startswith(path[0])
    assert sentence in said


def test_a_file_that_is_no_yaml_or_is_not_there_is_a_fault(tmp_path):
    path = tmp_path / "broken.yaml"
    with pytest.raises(DocumentError, match="cannot be read"):
        reading.load(path)
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(DocumentError, match=r"not valid YAML.*line 1"):
        reading.load(path)
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(DocumentError, match="a campaign is a mapping"):
        reading.load(path)


def test_what_is_held_fixed_is_not_searched(content):
    content["methods"] = [{"name": "cutmix", "alpha": 0.5}]
    checked = reading.check(content, "small.yaml")
    assert set(checked.space("cutmix")) == {"lr", "weight_decay", "cutmix_prob"}
    assert checked.method("cutmix").regularizer(cutmix_prob=0.25).alpha == 0.5


def test_integer_ends_of_a_real_range_become_reals(content):
    content["spaces"] = {"mixup": {"alpha": {"low": 1, "high": 2}}}
    alpha = reading.check(content, "small.yaml").space("mixup")["alpha"]
    assert [type(end) for end in alpha.corners] == [float, float]


def test_a_block_larger_than_the_map_is_refused(content):
    content["methods"] = [{"name": "patchup_hard", "block_size": 9, "scale_block": False}]
    checked = reading.check(content, "small.yaml")
    with pytest.raises(DocumentError, match=r"methods\[0\].block_size: .*9.*8"):
        preflight(checked, "small.yaml")
    content["methods"] = [{"name": "patchup_hard", "scale_block": False}]
    with pytest.raises(DocumentError, match=r"spaces.patchup_hard.block_size: .*9.*8"):
        preflight(reading.check(content, "small.yaml"), "small.yaml")


def test_too_few_images_of_a_class_and_a_missing_folder_are_refused(content, tmp_path):
    content["split"] = {"train_per_class": 30, "validation_per_class": 20}
    with pytest.raises(DocumentError, match=r"split: "):
        preflight(reading.check(content, "small.yaml"), "small.yaml")
    content["dataset"] = {"name": "folder", "root": str(tmp_path / "nowhere")}
    with pytest.raises(DocumentError, match=r"dataset: .*nowhere"):
        preflight(reading.check(content, "small.yaml"), "small.yaml")


def test_preflight_counts_and_digests(small):
    facts = preflight(small, "small.yaml")
    assert (facts.train_images, facts.validation_images, facts.classes, facts.shape) == (50, 50, 10, (1, 8, 8))
    assert facts == preflight(small, "small.yaml")


def test_automatic_grace_is_behind_the_first_drop_or_a_quarter(content):
    plain = reading.check(content, "small.yaml")
    assert stopping_epochs(plain.search, plain.training) == (2, 4)
    content["training"] = {**content["training"], "epochs": 100, "schedule": {"name": "step", "at": [0.5, 0.75]}}
    stepped = reading.check(content, "small.yaml")
    assert stopping_epochs(stepped.search, stepped.training) == (51,)


def test_a_method_of_ones_own(content):
    content["methods"] = ["none", "tests.campaign.own_method.Shrink"]
    content["spaces"] = {"tests.campaign.own_method.Shrink": {"amount": {"low": 0.1, "high": 0.5}}}
    checked = reading.check(content, "small.yaml")
    assert checked.method("tests.campaign.own_method.Shrink").regularizer().amount == 0.25
    assert set(checked.space("tests.campaign.own_method.Shrink")) == {"lr", "weight_decay", "amount"}


def test_rungs_lie_where_the_validation_images_are_looked_at(content):
    content["training"] = {**content["training"], "epochs": 60, "evaluate_every": 4}
    checked = reading.check(content, "small.yaml")
    assert stopping_epochs(checked.search, checked.training) == (16, 32)


def test_a_block_larger_than_the_map_is_reported_along_with_the_other_faults(content):
    content["methods"] = ["cutmx", {"name": "patchup_hard", "block_size": 31, "scale_block": False}]
    faults = faults_of(content)
    assert set(faults) == {"methods[0]", "methods[1].block_size"}


def test_a_choice_that_makes_another_setting_misfit_is_reported(content):
    content["methods"] = [{"name": "patchup_hard", "block_size": 9}]
    content["spaces"] = {"patchup_hard": {"scale_block": {"choices": [True, False]}}}
    with pytest.raises(DocumentError, match=r"spaces.patchup_hard.scale_block: .*9.*8"):
        preflight(reading.check(content, "small.yaml"), "small.yaml")


def test_object_stores_are_refused_and_home_is_found(content, monkeypatch, tmp_path):
    content["storage"] = "s3://bucket/runs"
    assert "object store" in faults_of(content)["storage"]
    monkeypatch.setenv("HOME", str(tmp_path))
    content["storage"] = "~/runs"
    assert reading.check(content, "small.yaml").folder == tmp_path / "runs" / "small"


@pytest.mark.parametrize(
    ("uri", "written"),
    [
        ("https://user:secret@host/path", "https://host/path"),
        ("postgresql://anna:se@cret@db/x?password=secret", "postgresql://db/x"),
        ("https://host/path?token=secret", "https://host/path"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_a_secret_of_the_tracking_server_is_written_nowhere(content, uri, written):
    content["tracking"] = {"uri": uri}
    assert reading.check(content, "small.yaml").as_yaml()["tracking"] == {"uri": written}


def test_a_broken_test_set_is_found_before_the_search(content, tmp_path):
    from PIL import Image

    for part, side in (("train", 8), ("test", 9)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(12):
                Image.new("RGB", (side, side), (number, 0, 0)).save(tmp_path / part / name / f"{number}.png")
    content["dataset"] = {"name": "folder", "root": str(tmp_path)}
    with pytest.raises(DocumentError, match=r"dataset: .*\(3, 8, 8\) and \(3, 9, 9\)"):
        preflight(reading.check(content, "small.yaml"), "small.yaml")


def test_a_choice_may_be_named_and_means_what_the_name_stands_for(content):
    content["methods"] = ["manifold_mixup"]
    content["spaces"] = {"manifold_mixup": {"layers": {"choices": ["manifold_mixup", "patchup", [1, 2]]}}}
    checked = reading.check(content, "small.yaml")
    assert checked.spaces["manifold_mixup"]["layers"].choices == ((0, 2, 3), (0, 1, 2), (1, 2))
    assert contains(checked.space("manifold_mixup"), checked.paper_setting("manifold_mixup"))
    content["spaces"] = {"manifold_mixup": {"layers": {"choices": ["patchup", [0, 1, 2]]}}}
    assert "a choice stands twice" in faults_of(content)["spaces.manifold_mixup.layers.choices"]


def preflight_faults(content):
    with pytest.raises(DocumentError) as caught:
        preflight(reading.check(content, "small.yaml"), "small.yaml")
    return {fault.path: fault.sentence for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("method", "space"),
    [
        ({"name": "resizemix", "scale_min": 0.5}, None),  # the repository's space searches scale_max from 0.4 on
        ("resizemix", {"scale_min": {"low": 0.1, "high": 0.7}, "scale_max": {"low": 0.3, "high": 1.0}}),
    ],
)
def test_ranges_that_cross_are_refused_and_not_tried(content, method, space):
    content["methods"] = [method]
    content["spaces"] = {"resizemix": space} if space else {}
    [(path, sentence)] = preflight_faults(content).items()
    assert path.startswith("spaces.resizemix")
    assert "scale_min must be at most scale_max" in sentence


def test_ranges_that_go_together_are_legal_whatever_the_defaults_are(content):
    content["methods"] = ["resizemix"]
    content["spaces"] = {
        "resizemix": {"scale_min": {"low": 0.85, "high": 0.95}, "scale_max": {"low": 0.95, "high": 1.0}}
    }
    preflight(reading.check(content, "small.yaml"), "small.yaml")


@pytest.mark.parametrize(
    ("method", "name", "space", "sentence"),
    [
        ("patchup_hard", "block_size", {"low": 3, "high": 9}, "must be odd, got 4"),
        ("augmix", "mixture_depth", {"low": -1, "high": 4}, "got 0"),
        ("puzzlemix", "t_size", {"low": -1, "high": 4}, "got 0"),
    ],
)
def test_integers_inside_a_range_have_to_be_legal_too(content, method, name, space, sentence):
    content["methods"] = [method]
    content["spaces"] = {method: {name: space}}
    assert sentence in faults_of(content)[f"spaces.{method}.{name}"]


def test_a_single_class_is_refused(content, tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        (tmp_path / part / "cat").mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / part / "cat" / f"{number}.png")
    content["dataset"] = {"name": "folder", "root": str(tmp_path)}
    assert "two classes or more" in preflight_faults(content)["dataset"]


def test_how_data_get_here_may_change_while_a_campaign_runs(content):
    content["dataset"] = {"name": "imagenet", "root": "data", "workers": 12}
    old = reading.check(content, "small.yaml")
    content["dataset"]["workers"] = 2
    assert differences(old, reading.check(content, "small.yaml")) == []
    content["dataset"]["flip"] = False
    assert differences(old, reading.check(content, "small.yaml")) == ["dataset.flip: true -> false"]


def test_faults_of_a_document_are_told_before_anything_is_downloaded(content, tmp_path):
    content["dataset"] = {"name": "cifar10", "root": str(tmp_path / "data"), "download": True}
    content["methods"] = [{"name": "mixup", "alhpa": 1.0}]
    assert "methods[0].alhpa" in faults_of(content)
    assert not (tmp_path / "data").exists()
