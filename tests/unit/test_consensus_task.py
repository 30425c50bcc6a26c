"""What the reviews say together, scored by hand; MAP as ir_measures has it."""

import math
from dataclasses import replace

import pytest

from eval.metrics.selective import aurc
from eval.runs.run import Row, Run, System
from eval.runs.summary import summarise
from eval.tasks.confidence import Asked, fit_confidence, out_of_fold
from eval.tasks.consensus import HEADLINE, dataset_of_marked, evaluate_consensus, label_of
from eval.tasks.predictions import Failure
from qa_system.datasets.mentions import MarkedMention, MarkedPoint, MarkedQuestion
from qa_system.errors import EvaluationError
from qa_system.opinions import Decision, Point, Quote, Verdict
from qa_system.records import Answer, Answers, AnswerSpan, Review

TEXTS = {"r1": "No hum.", "r2": "Hums a bit.", "r3": "Quiet lamp.", "r4": "Blue.", "r5": "Red."}
REVIEWS = tuple(Review(name, "lamp", text) for name, text in TEXTS.items())


def marked(number, mentions, points, polar=True):
    """Made of review -> stance, and point -> reviews."""
    return MarkedQuestion(
        f"q{number}",
        f"Is it loud {number}?",
        "lamp",
        REVIEWS,
        tuple(
            MarkedMention(name, (AnswerSpan(TEXTS[name], 0, len(TEXTS[name])),), stance, "for")
            for name, stance in mentions.items()
        ),
        tuple(MarkedPoint(label, frozenset(own)) for label, own in points.items()),
        polar,
    )


def told(points, confidences, verdict=None, score=0.9):
    """Made of the reviews of each point, and review -> confidence in the order of the answers."""
    answers = tuple(
        Answer(TEXTS[name], each, name, "lamp", 0, len(TEXTS[name]), TEXTS[name])
        for name, each in confidences.items()
    )
    return Answers(
        "?",
        "lamp",
        answers,
        Decision(score, 0.5),
        5,
        reviews=5,
        mentions=sum(map(len, points)),
        points=tuple(
            Point(
                TEXTS[own[0]],
                len(own),
                0.5,
                (0.0, 1.0),
                "for",
                0.0,
                "no",
                tuple(Quote(r, "text", TEXTS[r], 0, len(TEXTS[r]), TEXTS[r], {}) for r in own),
            )
            for own in points
        ),
        verdict=verdict,
    )


QUESTIONS = [
    marked(1, {"r1": "no", "r2": "yes", "r3": "no"}, {"no hum": ["r1", "r3"], "hums": ["r2"]}),
    marked(2, {"r2": "yes"}, {"hums": ["r2"]}),
    marked(3, {}, {}),
    marked(4, {"r4": None}, {"blue": ["r4"]}, polar=False),
]
USERS = [
    told([["r1", "r3"], ["r5"]], {"r1": 0.9, "r5": 0.6, "r3": 0.8}, Verdict("mostly_no", 0, 2)),
    told([], {}, Verdict("not_said", 0, 0), score=0.3),
    told([["r4"]], {"r4": 0.7}, None, score=0.7),
    Failure("no review"),
]
EVERY = [
    told([["r1", "r3"], ["r5", "r2"]], {"r1": 0.9, "r5": 0.6, "r3": 0.8, "r2": 0.1}),
    told([["r4"], ["r2"]], {"r4": 0.1, "r2": 0.3}, score=0.3),
    told([["r4"]], {"r4": 0.7}, score=0.7),
    Failure("no review"),
]


def ranking(*rankings):
    """A retriever's rankings for the answerable questions, in their order."""
    answerable = [each for each in QUESTIONS if each.mentions]
    return System(
        tuple(
            Row.of(label_of(question), {}, {"ranked": list(ranked), "scores": None})
            for question, ranked in zip(answerable, rankings, strict=True)
        )
    )


@pytest.fixture(scope="module")
def evaluated():
    rankings = {
        "bm25": ranking(["r5", "r4", "r3", "r2", "r1"], ["r2"], ["r1"]),
        "sentences": ranking(["r4", "r1"], ["r5"], ["r4"]),
    }
    return evaluate_consensus(QUESTIONS, USERS, EVERY, rankings, top_k=2)


def scores(system, name):
    return [row.scores.get(name) for row in system.rows]


def test_mentions_by_hand(evaluated):
    system, _ = evaluated
    # The first: r1 r3 r5 r2 by confidence, then r4 of the retriever: (1/1 + 2/2 + 3/4) / 3.
    assert system.rows[0].output["ranked"] == ["r1", "r3", "r5", "r2", "r4"]
    expected = [pytest.approx((1 + 1 + 3 / 4) / 3), 1.0, None, 0.0]
    assert scores(system, "mention_map") == expected
    assert scores(system, "mention_p@10") == [pytest.approx(0.3), pytest.approx(0.1), None, 0.0]
    assert scores(system, "mention_precision") == [pytest.approx(2 / 3), None, 0.0, None]
    assert scores(system, "mention_recall") == [pytest.approx(2 / 3), 0.0, None, 0.0]
    assert scores(system, "no_mention") == [None, None, 0.0, None]


def test_points_and_counts_by_hand(evaluated):
    system, _ = evaluated
    # One of two points is a labelled one, and one of two labelled ones is found.
    assert scores(system, "point_f1") == [0.5, 0.0, None, 0.0]
    # Counts 2 for 2, and nothing for 1.
    assert scores(system, "count_error") == [0.5, 1.0, None, 1.0]
    # Of 0, 1, 1 and the failed question's 1.
    assert system.measures["count_error_median"] == 1.0


def test_verdicts_by_hand(evaluated):
    system, _ = evaluated
    outputs = [row.output["gold_verdict"] for row in system.rows]
    assert outputs == ["mostly_no", "yes", "not_said", None]
    assert scores(system, "verdict_accuracy") == [1.0, 0.0, None, None]
    assert scores(system, "verdict_coverage") == [1.0, 1.0, 0.0, None]


def test_stances_by_hand(evaluated):
    system, _ = evaluated
    # "no" is told of r1 and r3, rightly, of r5, and of r4 where no review says anything.
    assert system.measures["stance_precision"] == pytest.approx(2 / 4)


def test_degrees_are_told_apart():
    users = [replace(USERS[0], verdict=Verdict("no", 0, 2)), *USERS[1:]]
    rankings = {"sentences": ranking([], [], [])}
    system, _ = evaluate_consensus(QUESTIONS, users, EVERY, rankings, top_k=2)
    assert scores(system, "verdict_accuracy")[0] == 0.0
    assert scores(system, "verdict_side")[0] == 1.0


def test_confidence_by_hand(evaluated):
    system, _ = evaluated
    # The first answers are right, right if it were given ("Hums a bit."), needless, failed.
    assert [row.output["right"] for row in system.rows] == [True, True, False, False]
    assert system.measures["ece"] == pytest.approx((0.1 + 0.7 + 0.7 + 0) / 4)
    assert system.measures["aurc"] == pytest.approx(aurc([0.9, 0.3, 0.7, math.nan], [1, 1, 0, 0]))
    assert system.measures["coverage_at_10"] == pytest.approx(1 / 4)
    assert system.measures["coverage_at_30"] == pytest.approx(1 / 4)


def test_baselines_by_hand(evaluated):
    _, baselines = evaluated
    # r3 at 3, r2 at 4, r1 at 5.
    assert scores(baselines["bm25"], "mention_map")[0] == pytest.approx((1 / 3 + 2 / 4 + 3 / 5) / 3)
    # One gold of five, all ranked: (1 + 1/2 + 1/3 + 1/4 + 1/5) / 5.
    assert scores(baselines["random"], "mention_map")[1] == pytest.approx(137 / 300)
    assert scores(baselines["random"], "mention_p@10")[1] == pytest.approx(1 / 10)
    # r1, r3, r5 apart: r1 is half of the point of r1 and r3; r2 is not there.
    assert scores(baselines["each mention a point"], "point_f1")[0] == pytest.approx(2 / 5)
    assert scores(baselines["each mention a point"], "count_error")[0] == pytest.approx(3 / 4)
    # All three: two thirds of that point, with a count of 3 for 2.
    assert scores(baselines["one point"], "point_f1")[0] == pytest.approx(2 / 3)
    assert scores(baselines["one point"], "count_error")[0] == pytest.approx(3 / 4)


def test_map_is_that_of_ir_measures(evaluated):
    ir_measures = pytest.importorskip("ir_measures")
    system, _ = evaluated
    answerable = [row for row in system.rows if row.answerable]
    qrels = {row.question_id: dict.fromkeys(row.output["gold"], 1) for row in answerable}
    ranked = {
        row.question_id: {name: -float(rank) for rank, name in enumerate(row.output["ranked"])}
        for row in answerable
    }
    # A question for which nothing is ranked is 0 by our rules, and absent in a run.
    found = {
        each.query_id: each.value for each in ir_measures.iter_calc([ir_measures.AP], qrels, ranked)
    }
    ours = {row.question_id: row.scores["mention_map"] for row in answerable}
    assert {**dict.fromkeys(ours, 0.0), **found} == pytest.approx(ours)


def test_questions_are_resampled_and_summarised(evaluated):
    system, baselines = evaluated
    data = dataset_of_marked(QUESTIONS, "labels.jsonl")
    run = Run("consensus", "mention_map", HEADLINE, {"consensus": system}, baselines)
    summary = summarise(run, resamples=200)
    assert summary["resampling"]["clusters"] == len(QUESTIONS)
    metrics = summary["systems"]["consensus"]["metrics"]
    assert set(HEADLINE) <= set(metrics)
    assert len(data.reviews) == len(REVIEWS)


def test_labels_that_are_not_there_give_no_numbers():
    bare = [replace(QUESTIONS[0], points=None, polar=None)]
    rankings = {"sentences": ranking([], [], [])}
    system, _ = evaluate_consensus(bare, USERS[:1], EVERY[:1], rankings, top_k=2)
    for name in ("point_f1", "count_error", "verdict_accuracy", "verdict_coverage"):
        assert system.metrics[name] is None
    assert system.measures["count_error_median"] is None


def test_a_question_is_one_label_of_all_its_reviews():
    label = label_of(QUESTIONS[0])
    assert [label.review_id, *(each.review_id for each in label.others)] == ["r1", "r2", "r3"]
    assert not label_of(QUESTIONS[2]).answers


# Confidences


def asked(*groups):
    """Made of (item, score, right, answerable, how many)."""
    return [Asked(item, *each) for item, *each, n in groups for _ in range(n)]


FITTED = asked(
    ("a", 0.9, True, True, 30),
    ("b", 0.9, False, True, 10),
    ("c", 0.2, False, False, 30),
    ("d", 0.2, True, True, 10),
)


def test_a_fit_is_platt_scaling_on_outcomes():
    fitted = fit_confidence(FITTED, "some")
    # Three of four are right at .9, one of four at .2.
    assert fitted.probability(0.9) == pytest.approx(0.75, abs=0.02)
    assert fitted.probability(0.2) == pytest.approx(0.25, abs=0.02)
    # Answering at .2 is right 10 times, abstaining 30 times.
    assert 0.2 < fitted.threshold < 0.9
    assert len(fitted.outcomes) == len(FITTED)
    # Where all questions have an answer, abstaining is worth nothing; one half is the least.
    answerable = asked(("a", 0.9, True, True, 20), ("b", 0.2, False, True, 9), ("c", 0.2, 1, 1, 1))
    assert fit_confidence(answerable).threshold == 0.5


def test_only_right_answers_say_nothing():
    with pytest.raises(EvaluationError, match="right answers and wrong ones"):
        fit_confidence(asked(("a", 0.9, True, True, 3)))


def test_out_of_fold_is_of_other_items():
    # An item whose answers are all wrong at .9 is not known to the others.
    many = [
        each
        for number in range(10)
        for each in asked(
            (f"good{number}", 0.9, True, True, 8), (f"bad{number}", 0.1, False, True, 8)
        )
    ]
    odd = asked(("odd", 0.95, False, True, 20))
    assert out_of_fold(many)["ece"] < 0.05
    assert out_of_fold(many)["error"] == 0
    measured = out_of_fold([*many, *odd])
    assert measured["error"] == pytest.approx(20 / 100)
    assert measured["folds"] == 5
    assert measured["answered"] == pytest.approx(100 / 180)
