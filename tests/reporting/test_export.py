"""An exported configuration is a campaign that holds what was tuned, and is loaded without a fault."""

import pytest

from tuner.campaign.reading import load
from tuner.reporting.export import configuration, export
from tuner.reporting.results import Results


def test_exported_configurations_load_and_hold_what_was_tuned(finished, tmp_path):
    paths = export(finished.state, tmp_path / "best")
    assert {name: path.name for name, path in paths.items()} == {
        "none": "none.yaml",
        "mixup": "mixup.yaml",
        "cutmix": "cutmix.yaml",
    }
    document, original = load(paths["cutmix"]), finished.document
    assert document.name == "literal-cutmix"
    assert document.method("cutmix").fixed == {"alpha": 1.0, "cutmix_prob": 0.75}
    assert [method.name for method in document.methods] == ["cutmix"]
    assert document.search == original.search.model_copy(update={"trials": 0})
    assert document.spaces == {"shared": {}, "cutmix": {}}
    for part in ("dataset", "split", "model", "training", "final", "resources", "storage"):
        assert getattr(document, part) == getattr(original, part)


def test_tuned_learning_rate_and_weight_decay_are_the_trainings(book, tmp_path):
    made = book(methods=["mixup"], search={"trials": 1})
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.1], lr=0.0123456789012345, weight_decay=2.5e-4, alpha=0.3)
    document = load(export(made.state, tmp_path)["mixup"])
    assert (document.training.lr, document.training.weight_decay) == (0.0123456789012345, 2.5e-4)
    assert document.method("mixup").fixed == {"alpha": 0.3}


def test_what_the_campaign_held_fixed_stays_fixed(book, tmp_path):
    fixed = {"name": "patchup_hard", "layers": [1, 2], "gamma": 0.25}
    made = book(methods=[fixed], search={"trials": 1})
    made.search("patchup_hard", 0, [0.5, 0.3, 0.2, 0.1], patchup_prob=0.9, block_size=3)
    kept = load(export(made.state, tmp_path)["patchup_hard"]).method("patchup_hard").fixed
    assert (kept["gamma"], kept["layers"], kept["patchup_prob"], kept["block_size"]) == (0.25, [1, 2], 0.9, 3)
    assert "scale_block" in kept  # the class's default, written out: it is what was tuned


def test_header_says_where_it_comes_from(finished, tmp_path):
    lines = export(finished.state, tmp_path)["cutmix"].read_text(encoding="utf-8").splitlines()
    assert lines[:3] == [
        "# cutmix as the campaign literal left it.",
        "# Trial cutmix-001, the best of 3 search trials by validation error: validation error 5.00 %, NLL 0.1500.",
        "# Test error 6.10 ± 1.10 % over 3 final seeds.",
    ]


def test_neither_address_nor_password_of_the_tracking_server_is_exported(finished, tmp_path):
    assert "example.org" not in export(finished.state, tmp_path)["cutmix"].read_text(encoding="utf-8")


def test_a_method_without_a_full_length_trial_is_left_out(book, tmp_path):
    made = book(search={"trials": 2})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    made.search("mixup", 0, [0.7], "stopped", pruned_at=1)
    assert list(export(made.state, tmp_path / "best")) == ["none"]
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["none.yaml"]


def test_without_a_search_the_given_setting_is_exported(book, tmp_path):
    made = book(methods=[{"name": "mixup", "alpha": 0.7}], search={"trials": 0})
    path = export(made.state, tmp_path)["mixup"]
    assert load(path).method("mixup").fixed == {"alpha": 0.7}
    assert "Nothing was searched" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("length", [90, 100])
def test_a_long_name_is_cut_but_not_where_it_tells_methods_apart(book, tmp_path, length):
    made = book(name="x" * length, methods=["cutmix"], search={"trials": 0})
    document = load(export(made.state, tmp_path)["cutmix"])
    assert document.name.endswith("x-cutmix")
    assert len(document.name) <= 100


def test_a_method_of_a_package_that_is_not_here_keeps_what_the_ledger_holds(finished, monkeypatch):
    """The report of a campaign is read where its methods need not be installed."""
    import tuner.regularizers

    def missing(name):
        raise ValueError(f"method {name!r} cannot be imported")

    monkeypatch.setattr(tuner.regularizers, "get", missing)
    results = Results.of(finished.state)
    cutmix = results.studies[2]
    assert cutmix.paper is None
    assert "cutmix_prob: 0.75" in configuration(finished.document, cutmix)
