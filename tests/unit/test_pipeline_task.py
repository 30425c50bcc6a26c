"""What becomes of a question in the pipeline, worked by hand."""

from dataclasses import dataclass, replace

import pytest
from haystack import Document
from haystack.dataclasses import ExtractedAnswer

from eval.tasks.pipeline import evaluate_pipeline, headline_of
from qa_system.errors import EvaluationError, UnknownItemError
from qa_system.readers.extractive import Reading
from qa_system.records import Answer, Answers, AnswerSpan, Decision, Label
from qa_system.system import Examination

TEXTS = {"r1": "good screen", "r2": "bad screen", "r3": "loud"}


def label(number, review_id, answer=None, item="tv"):
    text = TEXTS[review_id]
    spans = ()
    if answer is not None:
        start = text.index(answer)
        spans = (AnswerSpan(answer, start, start + len(answer)),)
    return Label(f"q{number}", f"question {number}", item, review_id, text, spans)


def examination(read, answers, forced=None):
    """Made of review ids, best first, and (review id, text) pairs."""
    documents = {name: Document(id=name, content=TEXTS[name]) for name in read}
    found = answers or ([forced] if forced else [])
    extracted = tuple(
        ExtractedAnswer(
            query="?",
            score=0.9 - 0.1 * rank,
            data=text,
            document=documents[name],
            meta={"log_odds": 2.0 - rank},
        )
        for rank, (name, text) in enumerate(found)
    )
    given = tuple(
        Answer(text, 0.9 - 0.1 * rank, name, "tv", 0, len(text), text)
        for rank, (name, text) in enumerate(answers)
    )
    return Examination(
        tuple(documents.values()),
        Reading(extracted if answers else (), extracted, 0.1),
        Answers("?", "tv", given, Decision(0.9 if given else None, 0.5), len(read)),
    )


@dataclass
class ByQuestion:
    """Answers as it was told to, or raises."""

    told: dict
    reader: object = None

    def examine(self, questions, top_k):
        for question in questions:
            if isinstance(self.told[question.text], Exception):
                raise self.told[question.text]
        return [self.told[question.text] for question in questions]


CASES = [
    # label, what the pipeline does, outcome, f1, f1@2
    (label(1, "r1", "good screen"), examination(["r1"], [("r1", "good screen")]), "right", 1, 1),
    (
        label(2, "r1", "good screen"),
        examination(["r2", "r1"], [("r2", "bad screen"), ("r1", "good screen")]),
        *("not_ranked_first", 1 / 2, 1),
    ),
    (
        label(3, "r1", "good screen"),
        examination(["r2", "r3"], [("r2", "bad screen")]),
        *("not_retrieved", 1 / 2, 1 / 2),
    ),
    (
        label(4, "r1", "good screen"),
        examination(["r1", "r2"], [("r1", "good")]),
        *("wrong_span", 2 / 3, 2 / 3),
    ),
    (
        label(5, "r1", "good screen"),
        examination(["r1"], [], ("r1", "good screen")),
        *("wrong_no_answer", 0, 0),
    ),
    (label(6, "r1", "good screen"), examination([], []), "not_retrieved", 0, 0),
    (label(7, "r3"), examination(["r3"], [("r3", "loud")]), "needless_answer", 0, 0),
    (label(8, "r3"), examination(["r3"], [], ("r3", "loud")), "right_no_answer", 1, 1),
    (label(9, "r1", "good screen"), UnknownItemError("no review"), "failed", 0, 0),
    # The same words from another review are right all the same.
    (label(10, "r2", "screen"), examination(["r1"], [("r1", "screen")]), "right", 1, 1),
]
LABELS = [case[0] for case in CASES]
SYSTEM = ByQuestion({case[0].question: case[1] for case in CASES})


def evaluated(**options):
    return evaluate_pipeline(LABELS, SYSTEM, scope="item", top_k=2, alone=False, **options)


def test_outcomes_and_scores_by_hand():
    systems, first_read = evaluated()
    rows = systems["pipeline"].rows
    assert [row.output["outcome"] for row in rows] == [case[2] for case in CASES]
    assert [row.scores["f1"] for row in rows] == pytest.approx([case[3] for case in CASES])
    assert [row.scores["f1@2"] for row in rows] == pytest.approx([case[4] for case in CASES])
    assert [row.scores["retrieved"] for row in rows] == [1, 1, 0, 1, 1, 0, None, None, 0, 0]
    assert rows[1].output["ranked"] == ["r2", "r1"]
    assert rows[1].output["answers"][1]["review_id"] == "r1"
    assert rows[8].error == "no review"
    assert first_read[1] == "bad screen"
    assert first_read[5] == first_read[8] == ""
    assert set(headline_of(2)) <= systems["pipeline"].metrics.keys()


def test_losses_add_up():
    systems, _ = evaluated()
    pipeline = systems["pipeline"]
    outcomes = pipeline.details["outcomes"]
    assert sum(each["questions"] for each in outcomes.values()) == len(CASES)
    assert sum(each["share"] for each in outcomes.values()) == pytest.approx(1)
    assert sum(each["loss"] for each in outcomes.values()) == pytest.approx(
        1 - pipeline.metrics["f1"]
    )
    assert outcomes["not_retrieved"]["loss"] == pytest.approx((1 / 2 + 1) / 10)
    assert all(each["gap"] is None for each in outcomes.values())


class GoldReader:
    """Alone, it is right about every answerable question, and talks too much."""

    def read(self, questions, documents, top_k=None):
        readings = []
        for (document,) in documents:
            best = ExtractedAnswer(
                query="?",
                score=0.5,
                data=document.content,
                document=document,
                meta={"log_odds": 0.0},
            )
            readings.append(Reading((best,), (best,), 0.5))
        return readings


def test_gaps_add_up_to_the_difference_of_the_two():
    system = ByQuestion(SYSTEM.told, GoldReader())
    systems, _ = evaluate_pipeline(LABELS, system, scope="item", top_k=2)
    alone, pipeline = systems["reader alone"], systems["pipeline"]
    gaps = {name: each["gap"] for name, each in pipeline.details["outcomes"].items()}
    assert sum(gaps.values()) == pytest.approx(alone.metrics["f1"] - pipeline.metrics["f1"])
    assert gaps["not_ranked_first"] == pytest.approx((1 - 1 / 2) / 10)
    assert gaps["wrong_no_answer"] == pytest.approx(1 / 10)
    assert gaps["right_no_answer"] == pytest.approx(-1 / 10)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_size_of_batches_changes_nothing(batch):
    assert evaluated(batch=batch) == evaluated()


def test_a_pipeline_that_always_fails_is_no_measurement():
    with pytest.raises(EvaluationError, match=r"every question failed.*no review"):
        evaluate_pipeline(LABELS[8:9], SYSTEM, scope="item", alone=False)


def test_answers_from_reviews_that_nobody_judged_are_left_out():
    """Condensed lists: what was not read by annotators is neither right nor wrong."""
    systems, _ = evaluated()
    found = {row.question_id: row.scores for row in systems["pipeline"].rows}
    # The first answer is from r2, the second from the labelled review, and right.
    assert (found["q2"]["f1"], found["q2"]["judged_f1"]) == (1 / 2, 1)
    # Only another review's answer: left out, there is none, which is wrong here.
    assert (found["q3"]["f1"], found["q3"]["judged_f1"]) == (1 / 2, 0)
    # From the labelled review itself, on a question that it does not answer.
    assert (found["q7"]["f1"], found["q7"]["judged_f1"]) == (0, 0)
    assert found["q9"]["judged_f1"] == 0


def test_an_answer_to_an_unanswerable_question_from_another_review_is_left_out():
    asked = label(11, "r3")
    system = ByQuestion({asked.question: examination(["r1"], [("r1", "good screen")])})
    [row] = evaluate_pipeline([asked], system, scope="item", alone=False)[0]["pipeline"].rows
    assert (row.scores["f1"], row.scores["judged_f1"]) == (0, 1)


def test_reviews_of_joined_labels_were_judged():
    first, second = label(12, "r3"), label(12, "r1", "good screen")
    asked = replace(second, others=(first,))
    told = [("r3", "loud"), ("r1", "good screen")]
    system = ByQuestion({asked.question: examination(["r3", "r1"], told)})
    [row] = evaluate_pipeline([asked], system, scope="item", alone=False)[0]["pipeline"].rows
    assert row.scores["judged_f1"] == 0


def test_judged_answers_below_those_shown_count():
    asked = label(13, "r1", "good screen")
    told = [("r2", "bad screen"), ("r3", "loud"), ("r1", "good screen")]
    system = ByQuestion({asked.question: examination(["r2", "r3", "r1"], told)})
    pipeline = evaluate_pipeline([asked], system, scope="item", top_k=1, alone=False)
    [row] = pipeline[0]["pipeline"].rows
    assert len(row.output["answers"]) == 1
    assert row.scores["judged_f1"] == 1
