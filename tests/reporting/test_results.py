"""What a literal ledger of three methods comes to, worked out by hand, and what is said of it."""

from math import sqrt

import pytest

from tuner.campaign.fold import State
from tuner.campaign.ledger import LedgerError
from tuner.reporting.results import Results
from tuner.reporting.verdict import parities, verdict, warnings


def by_name(results):
    return {study.name: study for study in results.studies}


def test_finals_are_summed_up_over_seeds(finished):
    method = by_name(Results.of(finished.state))["cutmix"]
    assert method.tested() == {0: 0.05, 1: 0.072, 2: 0.061}
    summary = method.summary()
    # deviations -.011, .011, 0: std .011; t(.975, 2) = 4.3027
    assert (summary.n, summary.mean, summary.std) == (3, pytest.approx(0.061), pytest.approx(0.011))
    assert summary.high - summary.mean == pytest.approx(4.30265 * 0.011 / sqrt(3), rel=1e-5)
    assert method.summary("test_nll").mean == pytest.approx(0.122)
    assert method.summary("test_top5_error") is None


def test_best_paper_setting_and_gain(finished):
    methods = by_name(Results.of(finished.state))
    assert (methods["mixup"].best.id, methods["mixup"].best_error) == (
        "mixup-001",
        0.06,
    )  # the audited one is never chosen
    assert (methods["mixup"].paper.id, methods["mixup"].paper_error) == ("mixup-000", 0.08)
    assert methods["mixup"].tuning_gain == pytest.approx(0.02)
    assert methods["none"].tuning_gain == 0
    # final runs' last validation errors .06 .13 .08 have mean .09: the search's .06 was .03 too good
    assert methods["mixup"].final_error == pytest.approx(0.09)
    assert methods["mixup"].optimism == pytest.approx(0.03)


def test_a_paper_setting_that_was_stopped_has_no_error_to_compare(book):
    made = book(methods=["mixup"], search={"trials": 2})
    made.search("mixup", 0, [0.9], "stopped", pruned_at=1)
    made.search("mixup", 1, [0.4, 0.3, 0.2, 0.06], alpha=0.4)
    study = Results.of(made.state).studies[0]
    assert (study.paper.id, study.paper_error, study.tuning_gain) == ("mixup-000", None, None)


def test_an_audited_paper_setting_ran_to_its_end_and_is_compared(book):
    made = book(methods=["mixup"], search={"trials": 2})
    made.search("mixup", 0, [0.9, 0.5, 0.3, 0.09], "audited", pruned_at=1)
    made.search("mixup", 1, [0.4, 0.3, 0.2, 0.06], alpha=0.4)
    study = Results.of(made.state).studies[0]
    assert study.tuning_gain == pytest.approx(0.03)
    assert study.wrongly_stopped == []


def test_a_trial_0_with_another_setting_is_not_the_papers(book):
    made = book(methods=["mixup"], search={"trials": 1})
    made.search("mixup", 0, [0.4, 0.3, 0.2, 0.06], alpha=0.4)
    assert Results.of(made.state).studies[0].paper is None


def test_spent_counts_audits_and_failures(finished):
    methods = by_name(Results.of(finished.state))
    assert methods["none"].counts == {"completed": 1, "stopped": 1, "failed": 1}
    assert (methods["none"].search_spent.trials, methods["none"].search_spent.epochs) == (3, 4 + 1 + 2)
    assert (methods["mixup"].search_spent.epochs, methods["mixup"].search_spent.seconds) == (12, 24.0)
    assert (methods["mixup"].final_spent.trials, methods["mixup"].final_spent.epochs) == (3, 12)
    assert [trial.id for trial in methods["mixup"].wrongly_stopped] == ["mixup-002"]
    assert [trial.error["class"] for trial in methods["none"].broken] == ["OutOfMemoryError"]


def test_pairs_by_hand(finished):
    results = Results.of(finished.state)
    assert [method.name for method in results.ranked] == ["cutmix", "mixup", "none"]
    pairs = {(pair.first, pair.second): pair for pair in results.pairs}
    assert list(pairs) == [("cutmix", "mixup"), ("cutmix", "none"), ("mixup", "none")]
    # differences to none -.05 -.048 -.049: mean -.049, std .001, t = -49 sqrt(3); df 2: p = 1 - t / sqrt(t^2 + 2)
    pair = pairs["cutmix", "none"]
    t = 49 * sqrt(3)
    assert pair.comparison.difference == pytest.approx(-0.049)
    assert pair.comparison.p == pytest.approx(1 - t / sqrt(t * t + 2), rel=1e-6)
    assert pair.p_adjusted == pytest.approx(3 * pair.comparison.p)
    assert pair.shown
    assert not pairs["cutmix", "mixup"].shown
    assert not pairs["mixup", "none"].shown


def test_verdict_says_what_is_shown_and_what_is_not(finished):
    results = Results.of(finished.state)
    assert verdict(results) == [
        "cutmix has the lowest mean test error (6.10 %).",
        "Shown better than none (-4.90 points, 95 % CI [-5.15, -4.65], Holm p < .001).",
        "No difference shown to mixup.",
    ]
    assert warnings(results) == ["1 trial of none failed."]


def test_verdict_where_nothing_is_shown(book):
    made = book(methods=["none", "mixup"], search={"trials": 1})
    for method, errors in [("none", (0.10, 0.12, 0.11)), ("mixup", (0.11, 0.11, 0.10))]:
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        for seed, error in enumerate(errors):
            made.final(method, 0, seed, error)
    assert verdict(Results.of(made.state)) == [
        "No difference shown between any two methods (3 seeds, 1 comparison).",
        "mixup has the lowest mean test error (10.67 %).",
    ]


def test_differences_among_the_others_are_told_too(book):
    made = book(search={"trials": 1})
    for method, errors in [
        ("none", (0.20, 0.211, 0.22)),
        ("mixup", (0.10, 0.111, 0.121)),
        ("cutmix", (0.05, 0.06, 0.071)),
    ]:
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        for seed, error in enumerate(errors):
            made.final(method, 0, seed, error)
    first, better, also = verdict(Results.of(made.state))
    assert first.startswith("cutmix has the lowest")
    assert better.startswith("Shown better than mixup (")
    assert ", none (" in better
    assert also.startswith("Also shown: mixup better than none (")


def test_one_seed_shows_nothing(book):
    made = book(methods=["none", "mixup"], search={"trials": 1}, final={"seeds": [7]})
    for method, error in [("none", 0.3), ("mixup", 0.1)]:
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        made.final(method, 0, 7, error)
    results = Results.of(made.state)
    assert verdict(results)[0] == "No difference shown between any two methods: one seed cannot show one."
    assert results.pairs[0].p_adjusted == 1


def test_equal_means_share_the_lead(book):
    made = book(methods=["none", "mixup"], search={"trials": 1})
    for method, errors in [("none", (0.10, 0.12, 0.11)), ("mixup", (0.11, 0.10, 0.12))]:
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        for seed, error in enumerate(errors):
            made.final(method, 0, seed, error)
    assert verdict(Results.of(made.state))[1] == "none and mixup have the lowest mean test error (11.00 %)."


def test_what_is_shown_of_equal_leaders_is_said_of_each_by_name(book):
    made = book(search={"trials": 1})
    tested = {"none": (0.10, 0.12, 0.11), "mixup": (0.11, 0.10, 0.12), "cutmix": (0.5, 0.521, 0.51)}
    for method, errors in tested.items():
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        for seed, error in enumerate(errors):
            made.final(method, 0, seed, error)
    lines = verdict(Results.of(made.state))
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "Shown: none better than cutmix",
        "Shown: mixup better than cutmix",
    ]


def test_an_unfinished_campaign_is_not_ranked_and_says_what_is_missing(book):
    made = book()
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    made.suggest("mixup-000", "mixup", "search", 0, 1, made.document.paper_setting("mixup"))
    results = Results.of(made.state)
    assert verdict(results) == ["Not ranked: the campaign is not finished."]
    assert warnings(results) == [
        "Still to come: none: 2 search trials and 3 final runs; mixup: 3 search trials and 3 final runs; "
        "cutmix: 3 search trials and 3 final runs. The same run command goes on."
    ]
    assert [method.name for method in results.ranked] == ["none", "mixup", "cutmix"]


def test_a_method_without_a_full_length_trial_is_not_ranked(book):
    made = book(methods=["none", "mixup"], search={"trials": 1})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    for seed in range(3):
        made.final("none", 0, seed, 0.1)
    made.search("mixup", 0, [0.5], "diverged", error={"class": "Diverged", "message": "nan"})
    results = Results.of(made.state)
    assert results.finished
    assert verdict(results) == ["Not ranked: no trial of mixup ran to its last epoch, so nothing could be refitted."]


def test_a_method_that_lost_a_seed_is_not_ranked(book):
    made = book(methods=["none"], search={"trials": 1})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    for seed in (0, 1):
        made.final("none", 0, seed, 0.1)
    made.suggest("none-final-000-seed2", "none", "final", 0, 2, made.document.paper_setting("none"))
    made.rows("none-final-000-seed2", [0.5, 0.4])
    made.end("none-final-000-seed2", "failed", {"class": "WorkerLost", "message": "gone"})
    results = Results.of(made.state)
    assert [trial.seed for trial in results.methods[0].measured] == [0, 1]
    assert verdict(results) == ["Not ranked: none has 2 of 3 final runs."]
    assert results.methods[0].summary().n == 2


@pytest.mark.parametrize(("parity", "ranked"), [("trials", True), ("epochs", False), ("hours", False)])
def test_ranking_needs_the_parity_that_the_document_declares(book, parity, ranked):
    made = book(methods=["none", "mixup"], search={"trials": 2, "parity": parity})
    for method in ("none", "mixup"):
        made.search(method, 0, [0.5, 0.3, 0.2, 0.10])
        for seed, error in enumerate((0.1, 0.2, 0.3)):
            made.final(method, 0, seed, error)
    made.search("none", 1, [0.5, 0.3, 0.2, 0.15])  # 8 epochs against 5
    made.search("mixup", 1, [0.9], "stopped", pruned_at=1)
    results = Results.of(made.state)
    assert bool(results.obstacles) is not ranked
    if parity == "epochs":
        assert verdict(results) == [
            "Not ranked: the searches are 38 % apart in epochs, which the document asks to be equal "
            "(mixup: 5 epochs, none: 8 epochs)."
        ]
    assert parities(results)[0].startswith("Search budget in trials: 2 trials each")
    assert "5 epochs to 8 epochs, 38 % apart" in parities(results)[1]


def test_five_percent_of_epochs_are_tolerated_and_six_are_not(book):
    def gap(short):
        made = book(
            name=f"short{short}",
            methods=["none", "mixup"],
            training={"epochs": 100},
            search={"trials": 1, "parity": "epochs"},
        )
        made.search("none", 0, [0.5] * 100)
        made.search("mixup", 0, [0.5] * short, "failed", error={"class": "E", "message": "m"})
        return Results.of(made.state).parity

    assert gap(95).holds
    assert not gap(94).holds


def test_an_early_first_rung_is_warned_of(book):
    early = {"trials": 1, "grace": 2}
    made = book(methods=["none"], training={"epochs": 16}, search=early)
    assert warnings(Results.of(made.state))[-1].startswith("Trials could be stopped from epoch 2 on; below epoch 4")
    made.ledger.close()
    calm = book(
        name="fifo", methods=["none"], training={"epochs": 16}, search={"trials": 1, "grace": 2, "scheduler": "fifo"}
    )
    assert len(warnings(Results.of(calm.state))) == 1


def test_a_campaign_without_a_search_compares_the_given_settings(book):
    made = book(methods=["none", "mixup"], search={"trials": 0})
    for method, errors in [("none", (0.10, 0.12, 0.11)), ("mixup", (0.05, 0.07, 0.0605))]:
        for seed, error in enumerate(errors):
            trial = f"{method}-final-paper-seed{seed}"
            made.suggest(trial, method, "final", None, seed, made.document.paper_setting(method))
            made.rows(trial, (0.5, 0.3, 0.2, 0.1), test_error=error, test_nll=1.0, test_ece=0.1)
            made.end(trial, "completed")
    results = Results.of(made.state)
    assert results.obstacles == ()
    assert verdict(results)[1].startswith("Shown better than none")


def test_an_empty_ledger_says_so():
    with pytest.raises(LedgerError, match="no record yet"):
        Results.of(State())
