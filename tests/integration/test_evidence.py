"""Answers from the best sentences of all reviews, whichever they are in."""

from pathlib import Path

import orjson
import pytest
from haystack import Document

from indexing.job import run_job
from qa_system import QASystem, Question, pipelines
from qa_system.config import Settings, changed, load_settings
from qa_system.stores import open_store

QUESTION = "How long does the battery last?"
FILLER = "The colour is nice. It came in a box. My sister has one, too. The strap is fine."
GOLD = "It is small and light. The battery lasts eleven hours. I bring it everywhere."
ANSWER_ALWAYS = -50.0


def review(number: int, text: str, item: str = "cam") -> dict[str, str]:
    return {"review_id": f"{item}-{number}", "item_id": item, "text": text}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("evidence")
    long = " ".join([FILLER] * 1_200)
    rows = [
        review(number, f"{number}. {FILLER} The battery is a part of it.") for number in range(30)
    ]
    rows += [review(30, GOLD), review(31, f"{long} {GOLD} {long}"[:99_000], "long")]
    rows += [review(32, long[:50_000], "long")]
    (folder / "reviews.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    settings = load_settings(
        None,
        {
            "store.path": str(folder / "store"),
            "indexing.sources": [str(folder / "reviews.jsonl")],
            "reader.no_answer_threshold": ANSWER_ALWAYS,
        },
        environ={},
    )
    assert run_job(settings).counts.rejected == 0
    return settings


@pytest.fixture(scope="module")
def system(settings: Settings) -> QASystem:
    with QASystem.open(settings) as system:
        yield system


def test_what_stands_in_any_review_is_found(system: QASystem) -> None:
    answers = system.ask(QUESTION, "cam")
    best = answers.answers[0]
    assert (best.review_id, best.text) == ("cam-30", "eleven hours")
    assert GOLD[best.start : best.end] == best.text
    assert (answers.reviews, answers.reviews_read) == (31, answers.read)
    assert 1 < answers.read < 31
    assert 1 <= answers.considered <= 31


@pytest.mark.parametrize("budget", [64, 512])
def test_a_long_review_costs_no_more_than_the_budget(settings: Settings, budget: int) -> None:
    with QASystem.open(changed(settings, {"reader.budget": budget})) as system:
        [found] = system.examine([Question(QUESTION, "long")])
    best = found.answers.answers[0]
    content = found.documents[0].content or ""
    assert best.text == "eleven hours"
    assert content[best.start : best.end] == best.text
    assert content[best.start - 30 : best.start].endswith("light. The battery lasts ")


def test_a_place_and_its_review_fit_the_answer_of_each_mode(settings: Settings) -> None:
    for mode in ("bm25", "dense", "hybrid", "sentences", "judged"):
        with QASystem.open(changed(settings, {"retriever.mode": mode})) as system:
            best = system.ask(QUESTION, "cam").answers[0]
        assert (best.review_id, best.text) == ("cam-30", "eleven hours"), mode


def test_reviews_are_read_whole_on_request_and_where_a_ranker_chooses(settings: Settings) -> None:
    with QASystem.open(changed(settings, {"reader.evidence": "reviews"})) as system:
        answers = system.ask(QUESTION, "cam")
        assert (answers.reviews, answers.considered, answers.read) == (31, 10, 10)
    ranked = changed(settings, {"ranker.type": "reader", "ranker.candidates": 12})
    assert not pipelines.reads_sentences(ranked)
    with QASystem.open(ranked) as system:
        assert system.ask(QUESTION, "cam").read == 12


def test_generated_answers_have_the_same_evidence(settings: Settings) -> None:
    with QASystem.open(settings, mode="generate") as system:
        [found] = system.examine([Question(QUESTION, "cam")], mode="generate")
    assert found.documents[0].id == "cam-30"
    assert "cam-30" in {document.id for draft in found.drafts for document in draft.documents}


def test_a_pipeline_of_ones_own_reads_the_same(settings: Settings) -> None:
    with open_store(settings.store) as store:
        pipeline = pipelines.extract(store, settings)
        again = pipelines.load(pipeline.dumps())
        item = {"field": "meta.item_id", "operator": "==", "value": "cam"}
        for each in (pipeline, again):
            found = each.run({"query": QUESTION, "filters": item})
            assert found["reader"]["answers"][0].data == "eleven hours"
            assert found["retriever"]["reviews"] == 31


def test_reviews_that_others_wrote_need_no_sentences(settings: Settings, tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    plain = changed(settings, {"store.path": place, "retriever.mode": "bm25"})
    with open_store(plain.store, create=True) as store:
        meta = {"item_id": "cam", "review_id": "r1"}
        store.write_documents([Document(id="r1", content=GOLD, meta=meta)])
    with QASystem.open(plain) as system:
        answers = system.ask(QUESTION, "cam")
    assert answers.answers[0].text == "eleven hours"
    assert "sentences" not in answers.answers[0].meta
