"""Pages: everything in one file, nothing from outside, strangers' words harmless."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from eval.report.page import exploration_page, run_page
from eval.runs.run import hardest_first
from eval.runs.summary import summarise


class Elements(HTMLParser):
    """Every element, with its attributes, and the text that stands in it."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.open = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        self.open.append(self.found[-1])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def of(self, tag):
        return [(attrs, "".join(text)) for name, attrs, text in self.found if name == tag]


@pytest.fixture(scope="module", params=["retriever", "reader", "pipeline"])
def made(request, made_up_run):
    run = made_up_run(request.param, ("ours", "<b>theirs</b>"), questions=200)
    summary = summarise(run, resamples=100)
    return run, summary, run_page(run, summary)


def test_only_our_own_script_runs_and_nothing_is_fetched(made):
    page = Elements(made[2])
    scripts = page.of("script")
    ours = [text for attrs, text in scripts if "type" not in attrs]
    assert len(ours) == 1
    assert [attrs["type"] for attrs, _ in scripts if "type" in attrs] == ["application/json"]
    assert all("src" not in attrs for attrs, _ in scripts)
    (policy,) = [
        attrs["content"]
        for attrs, _ in page.of("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(ours[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "http" not in policy
    for tag, attrs, _ in page.found:
        assert tag not in {"img", "iframe", "object", "embed", "base", "b"}
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "action", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:,")), (tag, attrs)


def test_every_question_is_embedded_hardest_first(made):
    run, _, page = made
    (data,) = [json.loads(text) for attrs, text in Elements(page).of("script") if "type" in attrs]
    ordered = [row for name, row in hardest_first(run) if name == "ours"]
    assert [each["id"] for each in data["questions"]] == [row.question_id for row in ordered]
    assert [each["question"] for each in data["questions"]] == [row.question for row in ordered]
    assert [each["systems"][0]["score"] for each in data["questions"]] == [
        row.scores[run.primary] for row in ordered
    ]
    assert all(
        len(each["systems"][0]["output"].get("ranked", [])) <= 20 for each in data["questions"]
    )


def test_the_numbers_are_there(made):
    _, summary, page = made
    words = " ".join("".join(text) for _, _, text in Elements(page).found[:1])
    for each in [*summary["systems"].values(), *summary["references"].values()]:
        for metric in summary["headline"]:
            assert f"{each['metrics'][metric]:.3f}" in words
    for said in (
        "after Holm",
        "bundled:reader",
        "made-up",
        f"{13:064x}",
        "settings.retriever.mode",
    ):
        assert said in words
    assert "theirs" in words


def test_plots_have_words_for_those_who_cannot_see_them(made):
    page = Elements(made[2])
    drawn = [attrs for attrs, _ in page.of("div") if attrs.get("role") == "img"]
    assert len(drawn) == len(page.of("svg")) == len(page.of("figcaption")) >= 3
    assert all(len(attrs["aria-label"]) > 20 for attrs in drawn)
    assert all(attrs.get("scope") for attrs, _ in page.of("th"))
    assert len(page.of("h1")) == 1


def test_a_page_is_the_same_every_time(made):
    run, summary, page = made
    assert run_page(run, summary) == page


def test_links_lead_somewhere(made):
    page = Elements(made[2])
    ids = {attrs["id"] for _, attrs, _ in page.found if "id" in attrs}
    assert {attrs["href"].removeprefix("#") for attrs, _ in page.of("a")} <= ids


@pytest.mark.slow
def test_the_page_of_a_data_set():
    from eval.datasets import load_dataset
    from eval.explore import explore
    from qa_system.config import ReaderSettings

    found = explore(load_dataset("bundled:sample"), ReaderSettings())
    text = exploration_page(found)
    page = Elements(text)
    assert len(page.of("svg")) == len(found["histograms"]) + len(found["bars"]) == 5
    words = " ".join(re.sub(r"\s+", " ", text) for _, text in page.of("td"))
    assert f"{found['counts']['all']['questions']:,}" in words
    assert f"{found['counts']['all']['answerable']:.1%}" in words
