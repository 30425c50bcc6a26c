"""The whole pipeline, as users run it: a question and an item in, an answer out.

The reader alone, given the gold review, says what the pipeline could have scored. Where the
points between the two go is told question by question: the gold review was not retrieved, it
was retrieved but an answer from another one came first, the answer is another stretch of the
gold review, or the decision whether to answer was wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, get_args

from eval.runs.run import Row, System
from eval.tasks.candidates import Scope, filters_of
from eval.tasks.reader import (
    BATCH,
    Failure,
    Prediction,
    Similarity,
    evaluate_reader,
    in_batches,
    score_predictions,
)
from qa_system.labels import gold_documents, gold_texts
from qa_system.metrics import exact_match, f1
from qa_system.records import Label, Question

if TYPE_CHECKING:
    from qa_system.system import Examination, QASystem

__all__ = ["Outcome", "evaluate_pipeline", "headline_of"]

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
"""What became of a question. `not_retrieved`: the gold review was not among those read;
`not_ranked_first`: it was, but the first answer is from another one; `wrong_span`: the answer is
from it, and not (quite) the annotators'; `wrong_no_answer`: it was read, and nothing was said;
`needless_answer`: something was said to a question without an answer."""


def headline_of(top_k: int) -> tuple[str, ...]:
    """Name the metrics that a table of pipelines shows."""
    return ("em", "f1", "has_ans_em", "has_ans_f1", "no_ans_em", f"em@{top_k}", f"f1@{top_k}")


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
        top_k: answers looked at, each from another review.
        alone: also let the reader read each gold review alone, and tell where the points
            between the two go.
        batch: questions in one call of the system; it changes no result.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Returns:
        The systems, `pipeline` and, if asked for, `reader alone`; and for each question the
        text of the first review read, empty if there was none.

        To the reader's scores the pipeline's add `em@k` and `f1@k`, of the best among the first
        k answers (a question without an answer is right if there are none), and `retrieved`,
        whether a gold review was read. Its details tell for each `Outcome` the questions, their
        share, the `loss` (points of F1 that a perfect system would have beyond these) and the
        `gap` (points that the reader alone has beyond these); the losses add up to 1 - F1, the
        gaps to the difference of the two systems' F1.

    Raises:
        EvaluationError: there are no labels, two are of one question, all questions failed, or
            the scope needs items and a label names none.
    """
    filters = filters_of(labels, scope)

    def ask(part: Sequence[Label]) -> list[Examination]:
        return system.examine(
            [Question(label.question, filters=filters(label)) for label in part], top_k
        )

    examined = in_batches(labels, ask, "pipeline", batch)
    said = [each if isinstance(each, Failure) else Prediction.of(each.reading) for each in examined]
    scored = score_predictions(labels, said, slices=slices, similarity=similarity)
    rows = [
        _row(row, label, each, top_k)
        for row, label, each in zip(scored.rows, labels, examined, strict=True)
    ]
    systems: dict[str, System] = {}
    gaps = [0.0] * len(rows)
    if alone:
        reader = evaluate_reader(
            labels, system.reader, batch=batch, slices=slices, similarity=similarity
        )
        systems["reader alone"] = reader
        gaps = [
            (own.scores["f1"] or 0.0) - (whole.scores["f1"] or 0.0)
            for own, whole in zip(reader.rows, rows, strict=True)
        ]
    read = [len(each.documents) for each in examined if not isinstance(each, Failure)]
    whole = System(
        tuple(rows),
        measures=scored.measures,
        counts={**scored.counts, "reviews_read_median": median(read)},
        details={**scored.details, "outcomes": _outcomes(rows, gaps if alone else None)},
    )
    first_read = [
        "" if isinstance(each, Failure) or not each.documents else each.documents[0].content or ""
        for each in examined
    ]
    return {"pipeline": whole, **systems}, first_read


def _row(row: Row, label: Label, examined: Examination | Failure, top_k: int) -> Row:
    references, gold = gold_texts(label), gold_documents(label)
    if isinstance(examined, Failure):
        nothing = {f"em@{top_k}": 0.0, f"f1@{top_k}": 0.0, "retrieved": 0.0 if references else None}
        return replace(
            row, scores={**row.scores, **nothing}, output={**row.output, "outcome": "failed"}
        )
    answers = examined.answers.answers
    texts = [answer.text for answer in answers] or [""]
    ranked = list(dict.fromkeys(each.meta.get("review_id", each.id) for each in examined.documents))
    retrieved = not gold.isdisjoint(ranked)
    scores: dict[str, float | None] = {
        f"em@{top_k}": max(exact_match(text, references) for text in texts),
        f"f1@{top_k}": max(f1(text, references) for text in texts),
        "retrieved": float(retrieved) if references else None,
    }
    output: dict[str, Any] = {
        **row.output,
        "ranked": ranked,
        "answers": [
            {"text": each.text, "review_id": each.review_id, "confidence": each.confidence}
            for each in answers
        ],
        "outcome": _outcome(row, gold, retrieved, answers[0].review_id if answers else None),
    }
    return replace(row, scores={**row.scores, **scores}, output=output)


def _outcome(row: Row, gold: frozenset[str], retrieved: bool, answered_from: str | None) -> Outcome:
    if not row.references:
        return "right_no_answer" if answered_from is None else "needless_answer"
    if row.scores["f1"] == 1:
        return "right"
    if not retrieved:
        return "not_retrieved"
    if answered_from is None:
        return "wrong_no_answer"
    return "wrong_span" if answered_from in gold else "not_ranked_first"


def _outcomes(
    rows: Sequence[Row], gaps: Sequence[float] | None
) -> dict[str, dict[str, float | None]]:
    questions = Counter(row.output["outcome"] for row in rows)
    loss: defaultdict[str, float] = defaultdict(float)
    gap: defaultdict[str, float] = defaultdict(float)
    for at, row in enumerate(rows):
        loss[row.output["outcome"]] += 1 - (row.scores["f1"] or 0.0)
        gap[row.output["outcome"]] += 0.0 if gaps is None else gaps[at]
    return {
        outcome: {
            "questions": questions[outcome],
            "share": questions[outcome] / len(rows),
            "loss": loss[outcome] / len(rows),
            "gap": None if gaps is None else gap[outcome] / len(rows),
        }
        for outcome in get_args(Outcome)
        if questions[outcome]
    }
