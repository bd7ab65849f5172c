"""What `tune.py simulate` prints."""

from contextlib import closing
from io import StringIO

import pytest
from rich.console import Console

from tuner.campaign import reading
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.preflight import Facts
from tuner.campaign.settings import Budget
from tuner.campaign.simulation import Setup, recorded, simulate
from tuner.reporting.simulation_table import described, print_simulations


@pytest.fixture
def state(tmp_path):
    """Of two trials a study: the first is full length and 10 % wrong, the second was stopped at epoch 2 with 30 %."""
    content = {
        "name": "played",
        "dataset": {"name": "digits"},
        "split": {"train_per_class": 5, "validation_per_class": 5},
        "model": {"name": "preactresnet18", "width": 4},
        "methods": ["none", "mixup"],
        "training": {"epochs": 8, "batch_size": 25, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
        "search": {"trials": 2, "audit": 0},
        "final": {"seeds": [0], "select": "last"},
        "storage": str(tmp_path),
    }
    document = reading.check(content, "played.yaml")
    facts = Facts(50, 50, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")
    with closing(Campaign.open(document, facts)) as campaign:
        for study in document.studies:
            for number, error in enumerate((0.1, 0.3)):
                trial = campaign.suggest_search(study, number, {"lr": 0.1}, {})
                rows = [{"epoch": e, "val_error": error, "val_nll": 1.0, "seconds": 3600.0} for e in range(1, 9)]
                campaign.receive(Report(trial.id, 1, rows))
        yield campaign.state


def printed(state, *played, width=150) -> str:
    console = Console(width=width, file=StringIO())
    print_simulations(state.document, recorded(state), played, console)
    return console.file.getvalue()


def test_time_cost_regret_and_what_is_assumed(state):
    played = simulate(state, Setup(state.document.search.model_copy(update={"scheduler": "fifo"}), workers=1))
    costs, regrets = (line for line in printed(state, played).splitlines() if line.startswith("1 "))
    assert costs.split()[1:] == ["fifo", "1", "4", "0", "48.0", "h", "48.00"]
    assert regrets.split()[1:] == ["+0.00", "+0.00", "12", "in", "2", "trials"]


def test_nothing_is_cut_off_at_80_characters(state):
    search = state.document.search.model_copy(update={"budget": Budget(epochs=1500)})
    played = simulate(state, Setup(search, workers=1))
    text = printed(state, *[played] * 15, width=80)
    assert "…" not in text
    assert text.count("CPU-hours") == text.count("assumed epochs") == 1
    by_study = [line.split()[1:] for line in text.splitlines() if line.startswith("none ")]
    assert [len(row) for row in by_study] == [6, 6, 4]
    assert {value for row in by_study for value in row} == {"+0.00"}


def test_a_setup_says_what_it_heeds(state):
    search = state.document.search
    names = {
        name: described(Setup(search.model_copy(update={"scheduler": name}), 1), state.document)
        for name in ("asha", "median", "fifo")
    }
    assert names == {"asha": "asha, grace 2, reduction 2", "median": "median, grace 2", "fifo": "fifo"}
    budgeted = search.model_copy(update={"scheduler": "fifo", "budget": Budget(epochs=1500)})
    assert described(Setup(budgeted, 1), state.document) == "fifo, 1,500 epochs"


def test_a_study_without_a_choice_has_no_regret(state):
    nothing = simulate(state, Setup(state.document.search, workers=1))
    nothing.regret["none"] = None
    row = next(line for line in printed(state, nothing).splitlines() if line.startswith("none"))
    assert row.split() == ["none", "+0.00", "–"]
