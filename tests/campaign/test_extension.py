"""What `tune.py extend` makes of its options: more of the same campaign, or every fault at once."""

import pytest

from tuner.campaign import reading
from tuner.campaign.document import Document, differences
from tuner.campaign.extension import extended
from tuner.campaign.faults import DocumentError


@pytest.fixture
def document(small):
    """As a ledger gives it back."""
    return Document.model_validate(small.as_yaml())


def faults_of(document, *options):
    with pytest.raises(DocumentError) as refusal:
        extended(document, *options)
    return list(map(str, refusal.value.faults))


def test_what_is_asked_for_is_added_and_nothing_else_differs(document):
    more = extended(document, "+32", ["+fmix", "+cutmix"], "+5")
    assert more.search.trials == 4 + 32
    assert [method.name for method in more.methods] == ["none", "mixup", "fmix", "cutmix"]
    assert more.final.seeds == (0, 1, 2, 3, 4, 5, 6)
    assert set(more.space("fmix")) == {"lr", "weight_decay", "alpha", "decay_power"}
    changed = {line.split(":")[0].split(".")[0] for line in differences(document, more)}
    assert changed == {"search", "methods", "final", "spaces"}
    assert {line.split(":")[0] for line in differences(document, extended(document, None, [], "+1"))} == {"final.seeds"}


def test_seeds_are_counted_on_from_the_largest(content):
    content["final"] = {"seeds": [7, 3], "select": "last"}
    assert extended(reading.check(content, "small.yaml"), None, [], "+2").final.seeds == (7, 3, 8, 9)


def test_the_address_of_the_tracking_server_stays_whole(content):
    content["tracking"] = {"uri": "https://someone:secret@example.org"}
    document = reading.check(content, "small.yaml")
    assert extended(document, "+1", [], None).tracking == document.tracking


def test_all_faults_are_reported_at_once(document):
    assert faults_of(document, "12", ["fmix", "+cutmx", "+none", "+"], "-1") == [
        'tune.py extend: --trials: got "12", must be a plus and how many trials to add, from +1 to +999999. '
        "Write +12 for 12 more, or +8 for 12 in all.",
        'tune.py extend: --seeds: got "-1", must be a plus and how many seeds to add, from +1 to +999999.',
        'tune.py extend: --methods: got "fmix", must be a plus and the name of a method to add, such as +fmix.',
        'tune.py extend: --methods: "none" is in the campaign already; each method has one search.',
        'tune.py extend: --methods: got "+", must be a plus and the name of a method to add, such as +NAME.',
        "small, extended: methods[2]: unknown method 'cutmx'; did you mean cutmix? (a method of your own is named as "
        "in my_package.MyMethod)",
    ]


@pytest.mark.parametrize("text", ["+", "+0", "+ 1", "++1", "+1.5", "+1000000", "x"])
def test_what_is_no_number_to_add_is_refused(document, text):
    assert len(faults_of(document, text, [], None)) == 1


def test_a_method_that_is_named_twice_is_refused(document):
    assert "already" in faults_of(document, None, ["+fmix", "+fmix"], None)[0]


def test_a_method_that_would_begin_behind_the_others_is_refused(content):
    content["search"] = {**content["search"], "warm_start": "earlier"}
    document = reading.check(content, "small.yaml")
    assert "begin a new campaign" in faults_of(document, None, ["+fmix"], None)[0]
    assert extended(document, "+1", [], None).search.trials == 5


def test_nothing_to_add_is_refused(document):
    assert "nothing to add" in faults_of(document, None, [], None)[0]


def test_a_budget_is_raised_by_what_is_asked_for_and_no_other_limit_is(content):
    content["search"] = {**content["search"], "budget": {"epochs": 500, "cpu_hours": 2}}
    document = reading.check(content, "small.yaml")
    budget = extended(document, budget=["epochs=+100", "cpu_hours=+0.5"]).search.budget
    assert budget.limits == {"epochs": 600, "cpu_hours": 2.5}
    assert extended(document, "+1", [], None).search.budget == document.search.budget


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs=100", "such as epochs=+500"),
        ("epochs=+1.5", "such as epochs=+500"),
        ("epochs=+0", "adds nothing"),
        ("cpu_hours=+0.0", "adds nothing"),
        ("cpu_hours=+nan", "such as cpu_hours=+2"),
        ("gpu_hours=+1", "must be one of epochs=+N, cpu_hours=+N"),
        ("+100", "must be one of epochs=+N, cpu_hours=+N"),
    ],
)
def test_what_raises_no_limit_is_refused(content, text, said):
    content["search"] = {**content["search"], "budget": {"epochs": 500, "cpu_hours": 2}}
    with pytest.raises(DocumentError, match="--budget") as refusal:
        extended(reading.check(content, "small.yaml"), budget=[text])
    assert [said in str(fault) for fault in refusal.value.faults] == [True]


def test_a_limit_is_raised_once_and_where_there_is_one(content, document):
    with pytest.raises(DocumentError, match="has none to raise"):
        extended(document, budget=["epochs=+5"])
    content["search"] = {**content["search"], "budget": {"epochs": 500}}
    with pytest.raises(DocumentError, match="raised twice"):
        extended(reading.check(content, "small.yaml"), budget=["epochs=+5", "epochs=+5"])
