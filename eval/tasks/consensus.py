"""What the reviews say together, as users are told it, compared with labels over all reviews.

A question is asked twice: as users ask it, and with a threshold of 0, at which every sentence that
was judged is a mention. The latter tells the order of the reviews, and the best answer to
questions on which the system abstains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from eval.metrics import expect_all, metrics_of, score_all
from eval.metrics.consensus import errors_of
from eval.metrics.selective import RIGHT, aurc, coverages, reliability, risk_coverage
from eval.runs.provenance import made_with
from eval.runs.run import Row, Run, System
from eval.tasks.candidates import temporary_index
from eval.tasks.predictions import Failure, in_batches
from eval.tasks.retriever import evaluate_retriever
from qa_system.arguments import MOST
from qa_system.config import Settings, changed
from qa_system.consensus.verdict import verdict_of
from qa_system.datasets.dataset import Dataset
from qa_system.datasets.mentions import MarkedQuestion, QuestionPair
from qa_system.errors import EvaluationError
from qa_system.labels import gold_texts
from qa_system.metrics import f1
from qa_system.readers.calibration import expected_calibration_error
from qa_system.records import Answer, Answers, Label, Question
from qa_system.stores.filters import of_item

if TYPE_CHECKING:
    from qa_system.system import QASystem

__all__ = ["HEADLINE", "consensus_run", "dataset_of_marked", "evaluate_consensus", "label_of"]

HEADLINE = (
    "mention_map",
    "mention_p@10",
    "point_f1",
    "count_error",
    "verdict_accuracy",
    "verdict_coverage",
    "duplicates",
)
KS = (10,)
BATCH = 16
EVERY = {
    "answers.mention": 0.0,
    "answers.max_error": None,
    "reader.no_answer_threshold": -1e9,
}
"""Settings with which every sentence that was judged is a mention."""
CONFIRMED = ("yes", "mostly_yes")


def consensus_run(
    questions: Sequence[MarkedQuestion],
    settings: Settings,
    *,
    path: str,
    pairs: Sequence[QuestionPair] = (),
    top_k: int = 3,
) -> Run:
    """Evaluate what the reviews say together.

    Args:
        questions: with their labels and reviews, which are put into a temporary index.
        settings: what users run.
        path: where the questions were read from.
        pairs: opposite questions about the same items; those about other items are left out.
        top_k: answers shown.

    Returns:
        A run of the system `consensus` with the baselines `bm25`, `sentences` (the retriever
        alone), `random` (expected values), `each mention a point` and `one point`. Measures:
        `count_error_median` over all labelled points; `stance_precision`, the share of the stances
        told that annotators gave the same review; `ece`, `aurc` and `coverage_at_10`, `_20`,
        `_30` of the first answer, right from an F1 of .5 with an annotator on; of the pairs
        `both_confirmed`, the share in which both questions get a yes, and `pairs_decided`, the
        share in which both get a verdict.

    Raises:
        EvaluationError: every question failed.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.pipelines import to_read
    from qa_system.retrievers.registry import mode_of

    data = dataset_of_marked(questions, path)
    embed = mode_of(to_read(settings)).needs_embeddings
    about = {each.item_id for each in questions}
    asked = [each for each in pairs if each.item_id in about]
    with temporary_index(data.reviews, settings, embed=embed) as placed:
        rankings = _rankings(data.labels, placed)
        users, every = (_asked(questions, each) for each in (placed, changed(placed, EVERY)))
        system, baselines = evaluate_consensus(questions, users, every, rankings, top_k=top_k)
        if asked:
            system = replace(system, **_with_pairs(system, asked, placed))
    models = {"reader": settings.reader.model}
    if settings.judge.sentences:
        models["judge"] = settings.judge.model
    if embed:
        models["encoder"] = settings.encoder.model
    return Run(
        kind="consensus",
        primary="mention_map",
        headline=HEADLINE,
        systems={"consensus": system},
        baselines=baselines,
        made_with=made_with(settings, data, None, models, top_k=top_k),
    )


def evaluate_consensus(
    questions: Sequence[MarkedQuestion],
    users: Sequence[Answers | Failure],
    every: Sequence[Answers | Failure],
    rankings: Mapping[str, System],
    *,
    top_k: int,
) -> tuple[System, dict[str, System]]:
    """Score what a system returned to labelled questions.

    Args:
        questions: with their labels.
        users: what users are told, with all answers.
        every: what is returned if every sentence judged is a mention.
        rankings: retrievers' rankings of the answerable questions; reviews that were not judged
            are ranked as `sentences` ranks them.
        top_k: answers shown.

    Returns:
        The system, and the baselines.
    """
    metrics = metrics_of("consensus", KS)
    ranked_by = {name: {row.key: row for row in each.rows} for name, each in rankings.items()}
    rows: list[Row] = []
    scored: dict[str, list[Row]] = {
        name: [] for name in (*rankings, "random", "each mention a point", "one point")
    }
    for question, told, judged in zip(questions, users, every, strict=True):
        label = label_of(question)
        rest = ranked_by["sentences"].get((None, label.question_id))
        output = _output(question, told, judged, rest, top_k)
        error = told.reason if isinstance(told, Failure) else None
        scores = score_all(metrics, label, output, failed=error is not None)
        row = replace(Row.of(label, scores, output, error=error), cluster=question.question_id)
        rows.append(row)
        for name, of_keys in ranked_by.items():
            found = of_keys.get(row.key)
            shown = {} if found is None else found.output
            scored[name].append(_scored_as(row, label, _only_ranked(output, shown)))
        expected = expect_all(metrics, label, output, depth=output["candidates"])
        scored["random"].append(replace(row, scores=expected, output={}, error=None))
        said = output["mentioned"]
        for name, points in (
            ("each mention a point", [[each] for each in said]),
            ("one point", [said] if said else []),
        ):
            put = {**output, "points": points, "counts": list(map(len, points))}
            scored[name].append(_scored_as(row, label, put, _OF_POINTS))
    measures, details = _measures(rows)
    system = System(tuple(rows), measures, _counts(questions, rows), details)
    return system, {name: System(tuple(each)) for name, each in scored.items()}


def dataset_of_marked(questions: Sequence[MarkedQuestion], path: str) -> Dataset:
    """Return labelled questions as a data set, each asked once of all reviews of its item."""
    reviews = {review.id: review for each in questions for review in each.reviews}
    return Dataset(path, tuple(map(label_of, questions)), tuple(reviews.values()))


def label_of(question: MarkedQuestion) -> Label:
    """Return a question as a label; the reviews that answer it are its gold reviews."""
    contents = {review.id: review.content for review in question.reviews}
    labels = [
        Label(
            question_id=question.question_id,
            question=question.question,
            item_id=question.item_id,
            review_id=each.review_id,
            context=contents[each.review_id],
            answers=each.spans,
        )
        for each in question.mentions
    ]
    if labels:
        return replace(labels[0], others=tuple(labels[1:]))
    first = question.reviews[0]
    return Label(
        question.question_id, question.question, question.item_id, first.id, first.content, ()
    )


_OF_POINTS = ("point_f1", "count_error")
_OF_RANKING = ("mention_map", "mention_p@10")


def _rankings(labels: Sequence[Label], settings: Settings) -> dict[str, System]:
    """Rank all reviews of the answerable questions' items by retrievers alone."""
    from qa_system.pipelines import to_read
    from qa_system.stores import open_store

    words = changed(settings, {"retriever.mode": "bm25", "ranker.type": "none"})
    with open_store(settings.store) as store:
        most = max(
            store.count_documents_by_filter(of_item(label.item_id, None))
            for label in labels
            if label.item_id is not None
        )
        return {
            name: evaluate_retriever(labels, store, each, scope="item", ks=(most,))
            for name, each in (("bm25", words), ("sentences", to_read(settings)))
        }


def _asked(questions: Sequence[MarkedQuestion], settings: Settings) -> list[Answers | Failure]:
    from qa_system.system import QASystem

    labels = list(map(label_of, questions))
    with QASystem.open(settings) as system:
        return in_batches(labels, _ask(system), "consensus", BATCH)


def _ask(system: QASystem) -> Callable[[Sequence[Label]], Sequence[Answers | Failure]]:
    def ask(labels: Sequence[Label]) -> list[Answers | Failure]:
        asked = [Question(label.question, label.item_id) for label in labels]
        return [
            each if each.error is None else Failure(str(each.error))
            for each in system.ask_many(asked, MOST)
        ]

    return ask


def _output(
    question: MarkedQuestion,
    told: Answers | Failure,
    judged: Answers | Failure,
    rest: Row | None,
    top_k: int,
) -> dict[str, Any]:
    gold = sorted(each.review_id for each in question.mentions)
    verdict = verdict_of([each.stance for each in question.mentions], least=1)
    output: dict[str, Any] = {
        "gold": gold,
        "candidates": len(question.reviews),
        "gold_candidates": len(gold),
        "gold_points": None
        if question.points is None
        else [sorted(point.reviews) for point in question.points],
        "gold_verdict": verdict.answer if question.polar and verdict is not None else None,
        "ranked": [],
        "scores": None,
        "mentioned": [],
        "points": [],
        "counts": [],
        "verdict": None,
        "stances": {},
        "gold_stances": {each.review_id: each.stance for each in question.mentions}
        if question.polar
        else None,
        "shown": [],
        "prediction": "",
        "confidence": None,
        "surest": None,
        "right": False,
    }
    if isinstance(told, Failure) or isinstance(judged, Failure):
        return output
    surest = _surest(judged)
    first = told.answers[0] if told.answers else surest
    f1_of_first = 0.0 if first is None else f1(first.text, gold_texts(label_of(question)))
    points = [[quote.review_id for quote in point.quotes] for point in told.points]
    return {
        **output,
        "ranked": list(_in_order(judged, rest)),
        "mentioned": sorted({review for point in points for review in point}),
        "points": points,
        "counts": [point.support for point in told.points],
        "labels": [point.label for point in told.points],
        "verdict": None if told.verdict is None else told.verdict.answer,
        "stances": {
            quote.review_id: point.stance
            for point in told.points
            for quote in point.quotes
            if point.stance is not None
        },
        "shown": [each.text for each in told.answers[:top_k]],
        "prediction": told.answers[0].text if told.answers else "",
        "forced": "" if first is None else first.text,
        "confidence": told.score,
        "surest": None if surest is None else surest.confidence,
        "right": bool(question.mentions) and f1_of_first >= RIGHT,
    }


def _surest(judged: Answers) -> Answer | None:
    """Return the answer that a lower threshold would let through first."""
    return max(judged.answers, key=lambda each: each.confidence, default=None)


def _in_order(judged: Answers, rest: Row | None) -> Iterator[str]:
    """Yield the reviews that were judged, the most confident first, then the others."""
    surest = sorted(judged.answers, key=lambda each: -each.confidence)
    told = [each.review_id for each in surest]
    # Whose words were shown by another review follow: they are not among the answers.
    alike = [quote.review_id for point in judged.points for quote in point.quotes]
    yield from dict.fromkeys([*told, *alike, *([] if rest is None else rest.output["ranked"])])


def _only_ranked(output: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    ranked = {"ranked": found.get("ranked", []), "scores": found.get("scores")}
    return {**output, **ranked}


def _scored_as(
    row: Row, label: Label, output: Mapping[str, Any], names: Sequence[str] = _OF_RANKING
) -> Row:
    metrics = [each for each in metrics_of("consensus", KS) if each.name in names]
    return replace(row, scores=score_all(metrics, label, output), output={}, error=None)


def _measures(rows: Sequence[Row]) -> tuple[dict[str, float | None], dict[str, Any]]:
    errors = [each for row in rows if row.output["gold_points"] for each in errors_of(row.output)]
    measures: dict[str, float | None] = {
        "count_error_median": median(errors) if errors else None,
        "stance_precision": _stance_precision(rows),
    }
    told = [nan if (own := row.output["confidence"]) is None else own for row in rows]
    right = [float(row.output["right"]) for row in rows]
    measures["ece"] = expected_calibration_error([0.0 if p != p else p for p in told], right)
    measures["aurc"] = aurc(told, right)
    measures |= coverages(told, right)
    known = [0.0 if p != p else p for p in told]
    return measures, {
        "risk_coverage": risk_coverage(told, right),
        "reliability": reliability(known, right),
    }


def _stance_precision(rows: Sequence[Row]) -> float | None:
    """Return the share of the stances told, on polar questions, that annotators gave the review."""
    right = [
        row.output["gold_stances"].get(review) == stance
        for row in rows
        if row.output["gold_stances"] is not None
        for review, stance in row.output["stances"].items()
    ]
    return fmean(right) if right else None


def _counts(questions: Sequence[MarkedQuestion], rows: Sequence[Row]) -> dict[str, float]:
    return {
        "questions": len(rows),
        "answerable": sum(row.answerable for row in rows),
        "unanswerable": sum(not row.answerable for row in rows),
        "answered": sum(bool(row.output["prediction"]) for row in rows),
        "failed": sum(row.error is not None for row in rows),
        "points": sum(len(each.points or ()) for each in questions),
        "polar": sum(each.polar is True for each in questions),
    }


def _with_pairs(
    system: System, pairs: Sequence[QuestionPair], settings: Settings
) -> dict[str, Any]:
    """Return a system's measures, counts and details with those of opposite questions."""
    from qa_system.system import QASystem

    asked = [Question(text, pair.item_id) for pair in pairs for text in pair.questions]
    with QASystem.open(settings) as opened:
        answers = opened.ask_many(asked, 1)
    failed = [each.error for each in answers if each.error is not None]
    if failed:
        raise EvaluationError(f"a pair's question failed: {failed[0]}")
    verdicts = [None if each.verdict is None else each.verdict.answer for each in answers]
    both = list(zip(verdicts[::2], verdicts[1::2], strict=True))
    confirmed = [one in CONFIRMED and other in CONFIRMED for one, other in both]
    decided = [one is not None and other is not None for one, other in both]
    return {
        "measures": {
            **system.measures,
            "both_confirmed": sum(confirmed) / len(pairs),
            "pairs_decided": sum(decided) / len(pairs),
        },
        "counts": {**system.counts, "pairs": len(pairs)},
        "details": {
            **system.details,
            "pairs": [
                {"pair_id": pair.pair_id, "questions": list(pair.questions), "verdicts": list(two)}
                for pair, two in zip(pairs, both, strict=True)
            ],
        },
    }
