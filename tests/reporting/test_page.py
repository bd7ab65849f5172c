"""The page and its Markdown: whole, self-contained, escaped, and there for unfinished campaigns too."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from tuner.reporting import figures, files, page
from tuner.reporting.results import Results

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Balance(HTMLParser):
    """Fails on an element that is not closed where it should be."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def html(finished):
    return page.as_html(Results.of(finished.state), finished.folder.best)


def parsed(text):
    balance = Balance()
    balance.feed(text)
    balance.close()
    assert balance.open == []
    return balance.seen


def test_page_is_well_formed_and_loads_nothing(html):
    elements = parsed(html)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in elements}
    addresses = [
        value for _, attrs in elements for name, value in attrs.items() if name in ("src", "href", "xlink:href")
    ]
    assert addresses, "the figures refer to their own marks"
    assert all(address.startswith("#") for address in addresses)
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]*)", html))


def test_ids_inside_the_figures_are_not_shared(html):
    """Two figures of one page that share a clip path or a mark would draw each other's."""
    svgs = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(svgs) == 2 + 2 * 3  # final errors, curves, and two for each method
    referred = [set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg)) for svg in svgs]
    assert all(referred)
    assert sum(map(len, referred)) == len(set().union(*referred))


def test_verdict_comes_first_and_everything_is_there(html):
    assert html.index("cutmix has the lowest mean test error") < html.index("<h2>Final runs</h2>")
    for text in (
        "No difference shown to mixup.",
        "1 trial of none failed.",
        "6.10 ± 1.10",
        "Every two methods",
        "What tuning brought",
        "uv run tune.py rerun",
        "cutmix-001",
        "d" * 64,
        "c" * 40,
        "torch 2.15.0",
    ):
        assert text in html


def test_texts_of_others_are_escaped(html):
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_text_of_the_campaign_is_escaped(book):
    made = book(dataset={"name": "folder", "root": "/data/<script>alert(2)</script>"})
    text = page.as_html(Results.of(made.state), made.folder.best)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(2)" in text


def test_no_password_is_shown(finished, html):
    markdown = page.as_markdown(Results.of(finished.state), finished.folder.best)
    for text in (html, markdown):
        assert "secret" not in text
        assert "https://example.org" in text


def test_figures_are_xml_and_the_same_each_time(finished):
    results = Results.of(finished.state)
    for draw, *of in [
        (figures.final_errors,),
        (figures.learning_curves,),
        *((draw, study) for study in results.studies for draw in (figures.search, figures.hyperparameters)),
    ]:
        svg = draw(results, *of)
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert svg == draw(results, *of)


def test_methods_look_different_in_every_figure(book):
    names = ["none", "mixup", "cutmix", "patchup_hard", "patchup_soft"]
    styles = figures.styles(Results.of(book(methods=names).state))
    assert list(styles) == names
    assert len({(style.colour, style.marker) for style in styles.values()}) == len(names)


def test_page_of_a_campaign_that_has_just_begun(book):
    made = book()
    text = page.as_html(Results.of(made.state), made.folder.best)
    parsed(text)
    assert "Not ranked: the campaign is not finished." in text
    assert "Still to come: none: 3 search trials and 3 final runs" in text
    assert "<svg" not in text


def test_page_where_every_trial_broke_before_its_first_epoch(book):
    made = book(methods=["none"], search={"trials": 2})
    for number in (0, 1):
        made.search("none", number, [], "failed", error={"class": "E", "message": "m"})
    text = page.as_html(Results.of(made.state), made.folder.best)
    parsed(text)
    assert "no trial of none ran to its last epoch" in text


def test_finals_without_validation_have_no_curves(book):
    made = book(methods=["none"], search={"trials": 1}, final={"seeds": [0], "fit_on": "trainval", "select": "last"})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    made.suggest("none-final-000-seed0", "none", "final", 0, 0, made.document.paper_setting("none"))
    for epoch in range(1, 5):
        row = {
            "epoch": epoch,
            "lr": 0.1,
            "train_loss": 1.0,
            "seconds": 1.0,
            **({"test_error": 0.1} if epoch == 4 else {}),
        }
        decision = "complete" if epoch == 4 else "continue"
        made.ledger.append({"kind": "result", "trial": "none-final-000-seed0", "row": row, "decision": decision})
    made.end("none-final-000-seed0", "completed")
    results = Results.of(made.state)
    assert figures.learning_curves(results) == ""
    assert results.studies[0].optimism is None
    parsed(page.as_html(results, made.folder.best))


def test_write_replaces_whole_files(finished):
    finished.folder.report.mkdir(parents=True)
    (finished.folder.report / "index.html").write_text("old")
    paths = page.write(finished.folder, finished.state)
    assert [path.name for path in paths] == ["index.html", "report.md", "results.csv"]
    assert sorted(path.name for path in finished.folder.report.iterdir()) == sorted(path.name for path in paths)
    assert paths[0].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(pd.read_csv(paths[2])) == 9


def test_paths_are_shown_as_one_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.shown(Path("runs/a")) == "runs/a"
    assert files.shown(tmp_path / "runs" / "a") == "runs/a"
    assert files.shown(Path("/elsewhere/a")) == "/elsewhere/a"


def test_a_long_table_is_folded(finished, monkeypatch):
    results = Results.of(finished.state)
    short, *_ = page.all_tables(results)
    rows = short.rows[:1] * 41
    monkeypatch.setattr(page, "all_tables", lambda results: [replace(short, rows=rows[:40])])
    assert "rows</summary>" not in page.as_html(results, finished.folder.best)
    monkeypatch.setattr(page, "all_tables", lambda results: [replace(short, rows=rows)])
    html = page.as_html(results, finished.folder.best)
    assert "<summary>41 rows</summary>" in html
    parsed(html)
