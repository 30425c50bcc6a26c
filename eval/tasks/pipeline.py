"""The whole pipeline, as users run it: a question and an item in, an answer out.

The reader alone, given the gold review, shows what the pipeline could have scored. The points
between the two are attributed question by question: the gold review was not retrieved; it was,
but an answer from another review was ranked first; the predicted span in the gold review is
wrong; or the decision whether to answer was wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, get_args

from eval.metrics import metrics_of
from eval.runs.run import Row, System
from eval.tasks.candidates import Filters, Scope, filters_of
from eval.tasks.predictions import (
    ALWAYS_EMPTY,
    Failure,
    Prediction,
    Similarity,
    in_batches,
    score_predictions,
)
from eval.tasks.reader import BATCH, evaluate_reader
from qa_system.arguments import MOST
from qa_system.labels import gold_documents
from qa_system.readers.calibration import log_odds_of
from qa_system.records import Answer, Label, Question

if TYPE_CHECKING:
    from qa_system.system import Examination, QASystem

__all__ = ["Outcome", "evaluate_pipeline", "headline_of", "with_judged"]

Outcome = Literal[
    "right",
    "right_no_answer",
    "not_retrieved",
    "not_ranked_first",
    "wrong_span",
    "wrong_no_answer",
    "needless_answer",
    "failed",
]
"""The outcome of a question. `not_retrieved`: the gold review was not among those read;
`not_ranked_first`: it was, but the first answer is from another review; `wrong_span`: the answer
is from it, but F1 is below 1; `wrong_no_answer`: it was read, and the system abstained;
`needless_answer`: the system answered a question that has no answer."""


def headline_of(top_k: int) -> tuple[str, ...]:
    """Return the metrics that a table of pipelines shows."""
    return (
        "em",
        "f1",
        "judged_f1",
        "has_ans_em",
        "has_ans_f1",
        "no_ans_em",
        f"em@{top_k}",
        f"f1@{top_k}",
    )


def evaluate_pipeline(
    labels: Sequence[Label],
    system: QASystem,
    *,
    scope: Scope,
    top_k: int = 3,
    alone: bool = True,
    batch: int = BATCH,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> tuple[dict[str, System], list[str]]:
    """Ask the users' system labelled questions.

    Args:
        labels: the questions.
        system: over a store that holds the reviews.
        scope: which reviews are candidates.
        top_k: answers scored, each from another review.
        alone: also evaluate the reader alone, and attribute the points between the two.
        batch: questions in one call; it changes no result.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Returns:
        The systems, `pipeline` and, if asked for, `reader alone`; and for each question the
        text of the first review read, empty if there was none. The pipeline's details have
        `outcomes`: of each `Outcome` the questions, their share, the `loss` (F1 that a perfect
        system has beyond the pipeline) and the `gap` (F1 that the reader alone has beyond it).
        The losses add up to 1 - F1, the gaps to the difference between the two systems' F1.

    Raises:
        EvaluationError: there are no labels, two are of one question, all questions failed, or
            the scope needs items and a label names none.
    """
    ask = partial(_ask, system, filters_of(labels, scope))
    examined = in_batches(labels, ask, "pipeline", batch)
    scored = score_predictions(
        labels,
        list(map(_prediction, examined)),
        metrics=metrics_of("pipeline", [top_k]),
        outputs=[_output(*each, top_k) for each in zip(examined, labels, strict=True)],
        slices=slices,
        similarity=similarity,
    )
    rows = tuple(map(_with_outcome, scored.rows, labels))
    reader = None
    if alone:
        reader = evaluate_reader(
            labels, system.reader, batch=batch, slices=slices, similarity=similarity
        )
    read = [len(each.documents) for each in examined if not isinstance(each, Failure)]
    pipeline = replace(
        scored,
        rows=rows,
        counts={**scored.counts, "reviews_read_median": median(read)},
        details={**scored.details, "outcomes": _outcomes(rows, reader)},
    )
    systems = {"pipeline": pipeline} | ({} if reader is None else {"reader alone": reader})
    return systems, list(map(_first_text, examined))


def with_judged(baselines: Mapping[str, System]) -> dict[str, System]:
    """Return baselines with the judged F1 of the one that always abstains: nothing is left out."""
    rows = tuple(
        replace(row, scores={**row.scores, "judged_f1": row.scores["f1"]})
        for row in baselines[ALWAYS_EMPTY].rows
    )
    return {**baselines, ALWAYS_EMPTY: System(rows)}


def _ask(
    system: QASystem,
    filters: Callable[[Label], Filters],
    labels: Sequence[Label],
) -> list[Examination | Failure]:
    questions = [Question(label.question, filters=filters(label)) for label in labels]
    return [
        each if each.answers.error is None else Failure(str(each.answers.error))
        for each in system.examine(questions, MOST)
    ]


def _prediction(examined: Examination | Failure) -> Prediction | Failure:
    """Take the first answer that users get; where there is none, the reader's best span."""
    if isinstance(examined, Failure):
        return examined
    best = Prediction.of(examined.reading)
    score = examined.answers.score
    text = _marked(examined.answers.answers[0]) if examined.answers.answers else ""
    return Prediction(
        text,
        text or best.forced,
        None if score is None else log_odds_of(score),
        0.0 if score is None else score,
    )


def _marked(answer: Answer) -> str:
    """Return the words that the reader marked in an answer; all of it, if it marked none."""
    return answer.text if answer.exact is None else answer.exact.text


def _first_text(examined: Examination | Failure) -> str:
    if isinstance(examined, Failure) or not examined.documents:
        return ""
    return examined.documents[0].content or ""


def _judged(examined: Examination, label: Label) -> str:
    """Return the best answer from a review that annotators read for the question."""
    read = {each.review_id for each in (label, *label.others)}
    answers = examined.answers.answers
    found = [_marked(each) for each in answers if each.review_id in read]
    quotes = (quote for point in examined.answers.points for quote in point.quotes)
    return next(chain(found, (each.text for each in quotes if each.review_id in read)), "")


def _output(examined: Examination | Failure, label: Label, top_k: int) -> dict[str, Any]:
    if isinstance(examined, Failure):
        return {}
    reviews = (each.meta.get("review_id", each.id) for each in examined.documents)
    decision = examined.answers.decision
    return {
        "ranked": list(dict.fromkeys(reviews)),
        "decision": None if decision is None else decision.to_dict(),
        "answers": [
            {"text": each.text, "review_id": each.review_id, "confidence": each.confidence}
            for each in examined.answers.answers[:top_k]
        ],
        "judged": _judged(examined, label),
        "reader_log_odds": Prediction.of(examined.reading).log_odds,
    }


def _with_outcome(row: Row, label: Label) -> Row:
    return replace(row, output={**row.output, "outcome": _outcome(row, label)})


def _outcome(row: Row, label: Label) -> Outcome:
    if row.error is not None:
        return "failed"
    answers = row.output["answers"]
    answered_from = answers[0]["review_id"] if answers else None
    if not row.references:
        return "right_no_answer" if answered_from is None else "needless_answer"
    if row.scores["f1"] == 1:
        return "right"
    if not row.scores["retrieved"]:
        return "not_retrieved"
    if answered_from is None:
        return "wrong_no_answer"
    return "wrong_span" if answered_from in gold_documents(label) else "not_ranked_first"


def _outcomes(rows: Sequence[Row], reader: System | None) -> dict[str, dict[str, float | None]]:
    questions = Counter(row.output["outcome"] for row in rows)
    loss: defaultdict[str, float] = defaultdict(float)
    gap: defaultdict[str, float] = defaultdict(float)
    for at, row in enumerate(rows):
        f1 = row.scores["f1"] or 0.0
        loss[row.output["outcome"]] += 1 - f1
        if reader is not None:
            gap[row.output["outcome"]] += (reader.rows[at].scores["f1"] or 0.0) - f1
    return {
        outcome: {
            "questions": questions[outcome],
            "share": questions[outcome] / len(rows),
            "loss": loss[outcome] / len(rows),
            "gap": None if reader is None else gap[outcome] / len(rows),
        }
        for outcome in get_args(Outcome)
        if questions[outcome]
    }
