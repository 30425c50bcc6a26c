import math
from dataclasses import dataclass, replace

import pytest
from haystack import Document
from haystack.dataclasses import ExtractedAnswer
from hypothesis import given
from hypothesis import strategies as st

from eval.tasks.calibration import fit_to
from eval.tasks.predictions import (
    MISSING,
    Failure,
    Prediction,
    baselines_of,
    load_predictions,
    score_predictions,
)
from eval.tasks.reader import BATCH, evaluate_reader
from qa_system.errors import (
    DataError,
    EmptyQuestionError,
    EvaluationError,
)
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label


def label(number, answer=None, **fields):
    spans = () if answer is None else (AnswerSpan(answer, 0, len(answer)),)
    return Label(f"q{number}", "?", None, f"r{number}", "x", spans, **fields)


LABELS = [label(1, "good screen"), label(2, "loud"), label(3), label(4)]
SAID = [
    Prediction("a good screen", "a good screen", 3.0, 0.9),
    Prediction("", "very loud", 1.0, 0.4),
    Prediction("", "x", 0.0, 0.3),
    Prediction("y", "y", 2.0, 0.8),
]


def test_scores_by_hand():
    found = score_predictions(LABELS, SAID)
    assert found.metrics == {
        "em": 2 / 4,
        "f1": 2 / 4,
        "has_ans_em": 1 / 2,
        "has_ans_f1": 1 / 2,
        "no_ans_em": 1 / 2,
        "no_ans_f1": 1 / 2,
        "forced_has_ans_em": 1 / 2,
        "forced_has_ans_f1": pytest.approx((1 + 2 / 3) / 2),
    }
    # Answering at 3 and above gets the first right, and lets the system abstain on the last two.
    assert found.measures["best_em"] == found.measures["best_f1"] == 3 / 4
    assert found.measures["best_em_threshold"] == found.measures["best_f1_threshold"] == 2.5
    assert found.counts == {
        "questions": 4,
        "answerable": 2,
        "unanswerable": 2,
        "answered": 2,
        "missing": 0,
        "failed": 0,
        "unlocated": 0,
    }
    assert [row.question_id for row in found.rows] == ["q1", "q2", "q3", "q4"]


@pytest.mark.parametrize("absent", [MISSING, Failure("out of memory")])
def test_what_was_not_said_is_wrong_even_where_nothing_was_due(absent):
    found = score_predictions(LABELS, [SAID[0], absent, absent, SAID[2]])
    assert found.metrics["em"] == 2 / 4
    assert found.metrics["no_ans_em"] == 1 / 2
    kind = "missing" if absent is MISSING else "failed"
    assert found.counts[kind] == 2
    assert found.counts["missing"] + found.counts["failed"] == 2
    assert found.rows[2].output["prediction"] is None
    assert found.rows[2].error == absent.reason
    # Not even the best threshold makes a question right on which nothing was said.
    assert found.measures["best_em"] == 2 / 4


def test_two_labels_of_one_question():
    with pytest.raises(EvaluationError, match="'q1' occurs twice"):
        score_predictions([LABELS[0]] * 2, SAID[:2])


def test_confidence_that_was_not_told_is_not_judged():
    found = score_predictions(LABELS, [Prediction("x", "x")] * 4)
    assert found.measures == {}
    assert found.details == {}


def test_similarity_counts_on_answerable_questions():
    asked = []

    def similarity(said, references):
        asked.extend(zip(said, references, strict=True))
        return [0.5] * len(said)

    found = score_predictions(LABELS, SAID, similarity=similarity)
    assert asked == [("a good screen", ("good screen",)), ("", ("loud",))]
    assert [row.scores["has_ans_sas"] for row in found.rows] == [0.5, 0.5, None, None]
    assert found.metrics["has_ans_sas"] == 0.5


def test_references():
    texts = ["Good screen! Really.", "", "Fine. Fine.", ""]
    beside = baselines_of(LABELS, texts, seed=13)
    assert beside.keys() == {"always_empty", "first_sentence", "random_span"}
    assert beside["always_empty"].metrics["em"] == 1 / 2
    assert beside["always_empty"].metrics["has_ans_em"] == 0
    assert beside["first_sentence"].metrics["has_ans_em"] == 1 / 2
    assert beside["first_sentence"].metrics["no_ans_em"] == 1 / 2
    spans = beside["random_span"].metrics
    assert 0 < spans["has_ans_f1"] < 1 / 2
    assert spans == baselines_of(LABELS, texts, seed=13)["random_span"].metrics


def test_people_against_each_other():
    good = (AnswerSpan("good screen", 0, 11),)
    labels = [*LABELS[:3], label(4, annotations=((), (), good))]
    beside = baselines_of(labels, [""] * 4, seed=13)
    assert beside["human"].counts == {}
    # Two that found no answer are compared with one that did, and it with them.
    assert beside["human"].metrics["no_ans_em"] == 0
    assert beside["human"].metrics["has_ans_em"] is None


class TestPredictions:
    def test_a_file_as_the_squad_script_takes_it(self, tmp_path):
        path = tmp_path / "said.json"
        path.write_text('{"q1": "good screen", "q3": ""}')
        said = load_predictions(path, LABELS)
        assert said == [
            Prediction("good screen", "good screen"),
            MISSING,
            Prediction("", ""),
            MISSING,
        ]
        assert score_predictions(LABELS, said).counts["missing"] == 2

    @pytest.mark.parametrize("none", ["null", '""', '" "', '"ANSWERNOTFOUND"'])
    def test_every_spelling_of_no_answer(self, tmp_path, none):
        path = tmp_path / "said.json"
        path.write_text(f'{{"q1": {none}}}', encoding="utf-8-sig")
        assert load_predictions(path, LABELS)[0] == Prediction("", "")

    def test_a_question_that_was_set_aside_is_not_missed(self, tmp_path):
        path = tmp_path / "said.json"
        path.write_text('{"q1": "good", "blank": "x"}')
        assert load_predictions(path, LABELS, {"blank"})[0] == Prediction("good", "good")

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("{", "no predictions"),
            ("[]", "no predictions"),
            ('{"q1": 5}', "no predictions"),
            ('{"q1": "x", "q1": "y"}', "'q1' is named twice"),
            (
                '{"q1": "x", "other": "y"}',
                "1 predictions are for questions that were not asked.*'other'",
            ),
        ],
    )
    def test_errors_are_named(self, tmp_path, text, error):
        path = tmp_path / "said.json"
        path.write_text(text)
        with pytest.raises(DataError, match=error):
            load_predictions(path, LABELS)

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_predictions(tmp_path / "none.json", LABELS)

    def test_ids_that_mean_two_questions(self, tmp_path):
        path = tmp_path / "said.json"
        path.write_text('{"q1": "x"}')
        labels = [label(1, "x", split="train"), label(1, "x", split="test")]
        with pytest.raises(DataError, match=r"several splits.*--split"):
            load_predictions(path, labels)


def test_a_prediction_for_each_label():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        score_predictions(LABELS, SAID[:2])


def test_no_labels():
    with pytest.raises(EvaluationError):
        score_predictions([], [])


def test_what_has_no_mean_is_none():
    metrics = score_predictions(LABELS[:2], SAID[:2]).metrics
    assert metrics["no_ans_em"] is None
    assert metrics["no_ans_f1"] is None


def test_unlocated_answers_are_compared_as_written():
    lost = label(1, meta={UNLOCATED: ["good screen"]})
    found = score_predictions([lost], [SAID[0]])
    assert found.metrics["has_ans_em"] == 1
    assert found.counts["unlocated"] == 1


def test_an_unlocated_answer_does_not_count_beside_a_located_one():
    """docs/evaluation.md, Data sets: answers without a place."""
    both = label(1, "two days", meta={UNLOCATED: ["battery is great"]})
    only = label(2, meta={UNLOCATED: ["battery is great"]})
    said = [Prediction("battery is great", "battery is great")] * 2
    found = score_predictions([both, only], said)
    assert [row.scores["em"] for row in found.rows] == [0.0, 1.0]
    assert [row.answerable for row in found.rows] == [True, True]
    aggregated = replace(only, others=(both,))
    assert score_predictions([aggregated], said[:1]).metrics["em"] == 0.0


def test_calibration_is_fitted_on_what_was_read():
    fitted = fit_to([score_predictions(LABELS, SAID)], "four questions")
    assert fitted.threshold == 2.5
    assert fitted.right.temperature > 0
    assert fitted.fitted_on == "four questions"


def test_calibration_needs_both_kinds_of_question():
    with pytest.raises(EvaluationError, match="needs questions with an answer and"):
        fit_to([score_predictions(LABELS[:2], SAID[:2])], "x")


ODDS = st.none() | st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.5])


@given(
    st.lists(
        st.tuples(ODDS, st.booleans(), st.sampled_from(["good", "good screen", "loud"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_best_threshold_is_the_best_of_all(cases):
    labels = [label(n, "good" if has else None) for n, (_, has, _) in enumerate(cases)]
    forced = [Prediction("", "" if odds is None else text, odds, 0.5) for odds, _, text in cases]
    measures = score_predictions(labels, forced).measures

    def at(threshold, name):
        said = [
            Prediction(each.forced, each.forced)
            if each.log_odds is not None and each.log_odds >= threshold
            else Prediction("", "")
            for each in forced
        ]
        return score_predictions(labels, said).metrics[name]

    thresholds = {odds for odds, _, _ in cases if odds is not None} | {math.inf}
    for name in ("em", "f1"):
        best = max(at(threshold, name) for threshold in thresholds)
        assert measures[f"best_{name}"] == pytest.approx(best)
        chosen = measures[f"best_{name}_threshold"]
        assert at(math.inf if chosen is None else chosen, name) == pytest.approx(best)


@dataclass(frozen=True)
class Reading:
    answers: tuple
    candidates: tuple
    no_answer_probability: float


class WordReader:
    """Answers with the longest word, if it has more than five letters."""

    def __init__(self):
        self.calls = []

    def read(self, questions, documents, top_k=None):
        self.calls.append(len(questions))
        assert top_k == 1
        readings = []
        for (document,) in documents:
            words = document.content.split()
            if not words:
                readings.append(Reading((), (), 1.0))
                continue
            word = max(words, key=len)
            best = ExtractedAnswer(
                query="?",
                score=0.5,
                data=word,
                document=document,
                meta={"log_odds": len(word) - 5.5},
            )
            readings.append(Reading((best,) if len(word) > 5 else (), (best,), 0.5))
        return readings


def questions(number):
    each = [("a wonderful lamp", AnswerSpan("wonderful", 2, 11)), ("not bad", None), (" ", None)]
    return [
        Label(f"q{at}", "?", None, f"r{at}", text, () if span is None else (span,))
        for at in range(number)
        for text, span in [each[at % 3]]
    ]


def test_a_reader_reads_the_gold_review_in_batches():
    reader = WordReader()
    found = evaluate_reader(questions(3 * BATCH), reader)
    assert reader.calls == [BATCH] * 3
    assert found.metrics["has_ans_em"] == 1
    assert found.metrics["no_ans_em"] == 1
    assert found.rows[1].output["forced"] == "not"
    assert found.rows[2].output["log_odds"] is None
    assert found.rows[0].output["prediction"] == "wonderful"
    assert found.rows[0].output["confidence"] == 0.5


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_the_size_of_batches_changes_nothing(batch):
    assert evaluate_reader(questions(20), WordReader(), batch=batch) == evaluate_reader(
        questions(20), WordReader()
    )


class FailingReader(WordReader):
    """Fails on whatever holds a certain word."""

    def __init__(self, word):
        super().__init__()
        self.word = word

    def read(self, questions, documents, top_k=None):
        if any(self.word in document.content for (document,) in documents):
            raise EmptyQuestionError("the question has no words")
        return super().read(questions, documents, top_k)


def test_a_question_that_fails_takes_no_other_with_it():
    labels = [*questions(5), Label("q5", "?", None, "r5", "a bomb", ())]
    found = evaluate_reader(labels, FailingReader("bomb"))
    assert found.counts["failed"] == 1
    assert [row.error for row in found.rows] == [None] * 5 + ["the question has no words"]
    assert found.metrics["no_ans_em"] == 3 / 4
    assert found.rows[:5] == evaluate_reader(labels[:5], WordReader()).rows


def test_a_reader_that_always_fails_is_no_measurement():
    with pytest.raises(EvaluationError, match=r"every question failed.*has no words"):
        evaluate_reader(questions(3), FailingReader(" "))


def test_errors_that_nobody_foresaw_are_not_counted_away():
    class Broken(WordReader):
        def read(self, questions, documents, top_k=None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate_reader(questions(3), Broken())


def test_a_document_is_the_review():
    seen = []

    class Spy(WordReader):
        def read(self, questions, documents, top_k=None):
            seen.extend(documents)
            return super().read(questions, documents, top_k)

    evaluate_reader([label(1, "x")], Spy())
    assert seen == [[Document(id="r1", content="x")]]
