import math
from dataclasses import dataclass

import pytest
from haystack import Document
from haystack.dataclasses import ExtractedAnswer
from hypothesis import given
from hypothesis import strategies as st

from eval.calibration import calibration_of, write_calibration
from eval.reading import (
    BATCH,
    Prediction,
    evaluate_reader,
    score_predictions,
)
from qa_system.datasets import UNLOCATED
from qa_system.errors import EvaluationError, ModelError
from qa_system.models import ModelLocation, read_manifest
from qa_system.readers.calibration import Calibration
from qa_system.records import AnswerSpan, Label


def label(number, answer=None, **fields):
    spans = () if answer is None else (AnswerSpan(answer, 0, len(answer)),)
    return Label(f"q{number}", "?", None, f"r{number}", "x", spans, **fields)


LABELS = [label(1, "good screen"), label(2, "loud"), label(3), label(4)]
SAID = [
    Prediction("a good screen", "a good screen", 3.0),
    Prediction("", "very loud", 1.0),
    Prediction("", "x", 0.0),
    Prediction("y", "y", 2.0),
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
        # Answering at 3 and above gets the first right, and leaves the last two silent.
        "best_em": 3 / 4,
        "best_em_thresh": 2.5,
        "best_f1": 3 / 4,
        "best_f1_thresh": 2.5,
    }
    assert found.references["always_empty"]["em"] == 1 / 2
    assert found.references["always_empty"]["has_ans_em"] == 0
    assert found.counts == {
        "questions": 4,
        "answerable": 2,
        "unanswerable": 2,
        "answered": 2,
        "missing": 0,
        "unlocated": 0,
    }
    assert [row.question_id for row in found.rows] == ["q1", "q2", "q3", "q4"]


def test_a_missing_prediction_is_wrong_even_where_none_was_due():
    found = score_predictions(LABELS, [SAID[0], None, None, SAID[2]])
    assert found.metrics["em"] == 2 / 4
    assert found.metrics["no_ans_em"] == 1 / 2
    assert found.counts["missing"] == 2
    assert found.rows[2].prediction is None


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


def test_calibration_is_fitted_on_what_was_read():
    fitted = calibration_of([score_predictions(LABELS, SAID)], "four questions")
    assert fitted.threshold == 2.5
    assert fitted.temperature > 0
    assert fitted.fitted_on == "four questions"


def test_calibration_needs_both_kinds_of_question():
    with pytest.raises(EvaluationError, match="needs questions with an answer and"):
        calibration_of([score_predictions(LABELS[:2], SAID[:2])], "x")


def test_a_calibration_is_kept_in_the_manifest(tmp_path):
    (tmp_path / "model.json").write_text('{"task": "reader", "calibration": null}')
    fitted = Calibration(threshold=1.5, temperature=2.0, fitted_on="x")
    write_calibration(fitted, ModelLocation("mine", tmp_path, "onnx"))
    manifest = read_manifest(tmp_path)
    assert manifest["task"] == "reader"
    assert Calibration.from_manifest(manifest) == fitted
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_checkpoint_keeps_no_calibration(tmp_path):
    with pytest.raises(ModelError, match="export it first"):
        write_calibration(Calibration(), ModelLocation("mine", tmp_path, "torch"))


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
    forced = [Prediction("", "" if odds is None else text, odds) for odds, _, text in cases]
    metrics = score_predictions(labels, forced).metrics

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
        assert metrics[f"best_{name}"] == pytest.approx(best)
        chosen = metrics[f"best_{name}_thresh"]
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


def test_a_reader_reads_the_gold_review_in_batches():
    labels = [
        Label("q1", "?", None, "r1", "a wonderful lamp", (AnswerSpan("wonderful", 2, 11),)),
        Label("q2", "?", None, "r2", "not bad", (AnswerSpan("bad", 4, 7),)),
        Label("q3", "?", None, "r3", " ", ()),
    ] * BATCH
    reader = WordReader()
    found = evaluate_reader(labels, reader)
    assert reader.calls == [BATCH] * 3
    assert found.metrics["has_ans_em"] == 1 / 2
    assert found.metrics["no_ans_em"] == 1
    assert found.rows[1].forced == "not"
    assert found.rows[2].log_odds is None
    assert found.rows[0].to_dict()["prediction"] == "wonderful"


def test_a_document_is_the_review():
    seen = []

    class Spy(WordReader):
        def read(self, questions, documents, top_k=None):
            seen.extend(documents)
            return super().read(questions, documents, top_k)

    evaluate_reader([label(1, "x")], Spy())
    assert seen == [[Document(id="r1", content="x")]]
