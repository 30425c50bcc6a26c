"""The whole path on the sample catalogue: reviews in, answers out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from indexing.job import run_job
from qa_system import QASystem, Question, pipelines
from qa_system.config import Settings, load_settings
from qa_system.datasets.subjqa import read_subjqa
from qa_system.errors import (
    ClosedError,
    EmptyQuestionError,
    InvalidArgumentError,
    QuestionTooLongError,
    StoreNotFoundError,
    UnknownItemError,
)
from qa_system.stores import open_store
from qa_system.stores.filters import InvalidFilterError

ITEM = "ereader-lumen-6"
QUESTION = "Is it good for reading at night?"
ANSWER_ALWAYS = -50.0
"""What is tested here is the way of an answer, not how sure a model is."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Settings:
    settings = load_settings(
        None,
        {
            "store.path": str(tmp_path_factory.mktemp("system") / "store"),
            "indexing.sources": [str(sample)],
            "reader.no_answer_threshold": ANSWER_ALWAYS,
        },
        environ={},
    )
    report = run_job(settings)
    assert report.counts.rejected == 0
    return settings


@pytest.fixture(scope="module")
def system(settings: Settings) -> QASystem:
    with QASystem.open(settings) as system:
        yield system


@pytest.fixture(scope="module")
def texts(sample: Path) -> dict[str, str]:
    return {review.id: review.text for review in read_subjqa(sample).reviews}


@pytest.fixture(scope="module")
def items(sample: Path) -> list[str]:
    """Of every review."""
    return [review.item_id for review in read_subjqa(sample).reviews]


def test_answers_are_spans_of_the_items_reviews(
    system: QASystem, texts: dict[str, str], items: list[str]
) -> None:
    answers = system.ask(QUESTION, item_id=ITEM, top_k=5)
    assert answers.question == QUESTION
    assert answers.reviews == sum(each == ITEM for each in items)
    assert 0 < answers.read <= answers.reviews
    assert 0 <= answers.considered <= answers.reviews
    assert answers.answers
    for answer in answers.answers:
        assert answer.item_id == ITEM
        assert texts[answer.review_id][answer.start : answer.end] == answer.text
        assert answer.text in answer.snippet
        assert 0 <= answer.confidence <= 1
        assert {"product", "stars", "date"} <= set(answer.meta)
        assert "content_hash" not in answer.meta
    assert len({answer.review_id for answer in answers.answers}) == len(answers.answers)
    firsts = [point.quotes[0].text for point in answers.points]
    shown = [answer.text for answer in answers.answers]
    assert shown[: len(firsts)] == firsts[: len(shown)]
    assert {"encode", "sentences", "read", "judge", "consensus"} <= set(answers.timings)


def test_top_k_bounds_the_answers(system: QASystem) -> None:
    assert len(system.ask(QUESTION, ITEM, top_k=1).answers) == 1


def test_the_reviews_do_not_say(settings: Settings) -> None:
    cautious = settings.model_copy(
        update={"reader": settings.reader.model_copy(update={"no_answer_threshold": None})}
    )
    with QASystem.open(cautious) as system:
        answers = system.ask("Does it come with a pilot's licence?", "kettle-brimwell-17")
    assert answers.answers == ()
    assert answers.decision.abstains
    assert answers.decision.score < answers.decision.threshold


def test_many_questions_are_answered_as_one_by_one(system: QASystem) -> None:
    questions = [
        Question(QUESTION, ITEM),
        Question("Does it leak?", "kettle-brimwell-17"),
        Question("How is the zipper?", "tent-fjellvik-2"),
    ]
    together = system.ask_many(questions)
    for question, answers in zip(questions, together, strict=True):
        alone = system.ask(question.text, question.item_id)
        assert [a.review_id for a in alone.answers[:1]] == [
            a.review_id for a in answers.answers[:1]
        ]
    assert system.ask_many([]) == []


def test_the_api_and_the_pipeline_agree(system: QASystem, settings: Settings) -> None:
    with open_store(settings.store) as store:
        pipeline = pipelines.extract(store, settings)
        item = {"field": "meta.item_id", "operator": "==", "value": ITEM}
        reader = pipeline.run({"query": QUESTION, "filters": item})["reader"]
    [examined] = system.examine([Question(QUESTION, ITEM)])
    assert examined.answers.decision == reader["decision"]
    assert examined.reading.answers[0].data == reader["answers"][0].data


def test_filters_narrow_the_item(system: QASystem) -> None:
    good = {"field": "meta.stars", "operator": ">=", "value": 4}
    answers = system.ask(QUESTION, ITEM, filters=good, top_k=5)
    assert 0 < answers.reviews < 14
    assert all(answer.meta["stars"] >= 4 for answer in answers.answers)


def test_without_an_item_all_reviews_are_asked(system: QASystem, items: list[str]) -> None:
    answers = system.ask("How many minutes does the kettle take to boil?")
    assert answers.reviews == len(items)
    assert answers.read > 0
    assert answers.item_id is None


async def test_asking_asynchronously(system: QASystem) -> None:
    answers = await asyncio.gather(*(system.ask_async(QUESTION, ITEM) for _ in range(3)))
    assert len({a.answers[0].text for a in answers}) == 1


def test_threads_get_the_answers_that_one_gets(system: QASystem) -> None:
    items = ["kettle-brimwell-17", "tent-fjellvik-2", "chair-orvanne-mesh", ITEM] * 4
    alone = {item: system.ask("Does it leak?", item) for item in set(items)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda item: system.ask("Does it leak?", item), items))
    for item, answers in zip(items, together, strict=True):
        assert answers.item_id == item
        assert [a.text for a in answers.answers] == [a.text for a in alone[item].answers]


@pytest.mark.parametrize("question", ["", "   ", "?!"])
def test_an_empty_question_is_refused(system: QASystem, question: str) -> None:
    with pytest.raises(EmptyQuestionError):
        system.ask(question, ITEM)


def test_an_over_long_question_is_refused(system: QASystem) -> None:
    with pytest.raises(QuestionTooLongError):
        system.ask("why " * 500, ITEM)


HALF = "b\udce9ttery"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Question("Is it bright?", "no-such-item"), "unknown_item"),
        (Question("Is it bright?", f" {ITEM} "), "unknown_item"),
        (Question("Is it bright?", 100), "invalid_argument"),
        (Question("Is it bright?", HALF), "invalid_argument"),
        (Question(HALF, ITEM), "invalid_argument"),
        (Question(None, ITEM), "invalid_argument"),
        (Question(["Is it bright?"], ITEM), "invalid_argument"),
        (Question("?!", ITEM), "empty_question"),
        (Question("why " * 500, ITEM), "question_too_long"),
        (Question("Is it bright?", ITEM, "stars"), "invalid_filter"),
        (Question("Is it bright?", ITEM, {"field": "meta.a", "value": 1}), "invalid_filter"),
        (
            Question("Is it bright?", None, {"field": "meta.a", "operator": "==", "value": HALF}),
            "invalid_argument",
        ),
    ],
)
def test_a_question_that_fails_does_not_fail_the_others(
    system: QASystem, wrong: Question, code: str
) -> None:
    fine = Question(QUESTION, ITEM)
    before, failed, after = system.ask_many([fine, wrong, fine])
    alone = system.ask(QUESTION, ITEM)
    assert before.answers == after.answers == alone.answers
    assert before.error is None
    assert failed.error is not None
    assert (failed.error.code, failed.answers, failed.decision) == (code, (), None)
    told = orjson.loads(orjson.dumps(failed.to_dict()))
    public = failed.error.public_message
    assert told["error"] == {"code": code, "message": public, "public_message": public}
    with pytest.raises(type(failed.error)) as caught:
        system.ask(wrong.text, wrong.item_id, wrong.filters)
    assert str(caught.value) == str(failed.error)


async def test_a_wrong_argument_is_refused_by_every_way_to_ask(system: QASystem) -> None:
    for top_k in (-1, 0, 1.5, True, "3", None):
        with pytest.raises(InvalidArgumentError, match=f"top_k is {top_k!r}"):
            system.ask(QUESTION, ITEM, top_k=top_k)
        with pytest.raises(InvalidArgumentError, match="top_k"):
            system.ask_many([Question(QUESTION, ITEM)], top_k)
        with pytest.raises(InvalidArgumentError, match="top_k"):
            await system.ask_async(QUESTION, ITEM, top_k=top_k)
    for questions in (QUESTION, None, [QUESTION], Question(QUESTION)):
        with pytest.raises(InvalidArgumentError, match="question"):
            system.ask_many(questions)


def test_an_id_is_compared_with_its_spaces(system: QASystem) -> None:
    with pytest.raises(UnknownItemError, match=f"with their spaces: there is an item '{ITEM}'"):
        system.ask(QUESTION, f" {ITEM}")


def test_an_empty_filter_selects_all_reviews_of_the_item(system: QASystem) -> None:
    assert system.ask(QUESTION, ITEM, filters={}).answers == system.ask(QUESTION, ITEM).answers


async def test_a_closed_system_answers_no_more(settings: Settings) -> None:
    system = QASystem(settings)
    system.close()
    system.close()
    with pytest.raises(ClosedError, match="closed"):
        system.ask(QUESTION, ITEM)
    with pytest.raises(ClosedError):
        await system.ask_async(QUESTION, ITEM)
    for ask in (system.ask_many, system.examine):
        with pytest.raises(ClosedError):
            ask([])
    with pytest.raises(ClosedError):
        system.warm_up()
    with pytest.raises(ClosedError), system:
        pass


@pytest.mark.parametrize("threshold", [-50.0, -2.0, 0.0, 3.0, 50.0])
def test_the_decision_is_the_score_compared_with_the_threshold(
    settings: Settings, threshold: float
) -> None:
    reader = settings.reader.model_copy(update={"no_answer_threshold": threshold})
    asked = [
        Question(QUESTION, ITEM),
        Question("How is the zipper?", "tent-fjellvik-2"),
        Question("Does it come with a pilot's licence?", "kettle-brimwell-17"),
    ]
    judge = settings.judge.model_copy(update={"sentences": 0})
    with QASystem(settings.model_copy(update={"reader": reader, "judge": judge})) as system:
        examined = system.examine(asked)
        right = system.reader.calibration_of_sentences.right
    for each in examined:
        decision = each.answers.decision
        assert decision is not None
        assert decision.score == each.reading.candidates[0].score
        assert decision.threshold == right(threshold)
        assert decision.abstains == (decision.score < decision.threshold)
        assert decision.abstains == (not each.answers.answers)
        assert decision.abstains == (each.reading.candidates[0].meta["log_odds"] < threshold)
        assert each.answers.to_dict()["decision"] == {
            "abstains": decision.abstains,
            "score": decision.score,
            "threshold": decision.threshold,
        }


def test_an_unknown_item_is_named(system: QASystem) -> None:
    with pytest.raises(UnknownItemError, match="no-such-item"):
        system.ask(QUESTION, "no-such-item")


def test_a_known_item_without_matching_reviews_is_no_error(system: QASystem) -> None:
    none = {"field": "meta.stars", "operator": ">", "value": 5}
    answers = system.ask(QUESTION, ITEM, filters=none)
    assert answers.answers == ()
    assert answers.reviews_read == 0
    assert answers.decision.abstains
    assert answers.decision.score is None


def test_a_malformed_filter_is_named(system: QASystem) -> None:
    with pytest.raises(InvalidFilterError):
        system.ask(QUESTION, ITEM, filters={"field": "meta.stars", "operator": "~", "value": 1})


def test_no_store_is_named_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="qa-index run"):
        QASystem.open(store__path=str(tmp_path / "nowhere"))


def test_passages_answer_with_offsets_into_the_whole_review(
    tmp_path: Path, sample: Path, texts: dict[str, str]
) -> None:
    settings = load_settings(
        None,
        {
            "store.path": str(tmp_path / "store"),
            "indexing.sources": [str(sample)],
            "indexing.passages.max_words": 60,
            "indexing.embed": False,
            "retriever.mode": "bm25",
            "reader.no_answer_threshold": ANSWER_ALWAYS,
        },
        environ={},
    )
    run_job(settings)
    starts = 0
    with QASystem.open(settings) as system:
        for question in (QUESTION, "How long does the battery last?", "Does it handle PDFs well?"):
            answers = system.ask(question, ITEM, top_k=8)
            for answer in answers.answers:
                assert texts[answer.review_id][answer.start : answer.end] == answer.text
                starts = max(starts, answer.start)
    assert starts > 400
