"""Is the review that answers found? The users' retrieving pipeline against gold reviews.

A question counts if it can be answered; those that cannot have no gold review, are counted
apart and are never a hit. Beside every retriever stand lines of reference over the same
candidates: random order (its expectation, in closed form), BM25, and an oracle that puts the
gold reviews first. On SubjQA's item scope random order is a strong competitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from eval.metrics.ranking import (
    average_precision,
    expected_at_random,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)
from eval.runs.run import Row, System
from eval.tasks.candidates import Scope, filters_of
from qa_system.config import Settings
from qa_system.errors import EvaluationError, QASystemError
from qa_system.labels import gold_documents, gold_texts
from qa_system.progress import progress
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.stores.contract import ReviewStore

__all__ = ["evaluate_retriever", "headline_of", "references_of"]

Texts = Mapping[str, Sequence[str]]
"""Review ids, each with the lower-cased texts of its passages."""


def headline_of(ks: Sequence[int]) -> tuple[str, ...]:
    """Name the metrics that a table of retrievers shows.

    >>> headline_of([1, 3, 5])
    ('recall@1', 'recall@3', 'recall@5', 'mrr', 'map', 'ndcg@5', 'answer_recall@3')
    """
    ks = sorted(set(ks))
    found = [f"recall@{k}" for k in ks]
    return (*found, "mrr", "map", f"ndcg@{ks[-1]}", f"answer_recall@{ks[len(ks) // 2]}")


def evaluate_retriever(
    labels: Sequence[Label],
    store: ReviewStore,
    settings: Settings,
    *,
    scope: Scope,
    ks: Sequence[int],
    slices: Sequence[Mapping[str, str]] | None = None,
) -> System:
    """Run the users' retriever over labelled questions.

    Args:
        labels: of one split or several.
        store: holds the reviews.
        settings: `retriever`, `encoder` and `ranker` say what runs. It gives as many documents
            as the largest k, if that is more than `retriever.top_k`.
        scope: which reviews are candidates.
        ks: the cut-offs.
        slices: features of each label; None: none.

    Returns:
        A row for each answerable question: `recall@k`, `hit_rate@k`, `ndcg@k`, `answer_recall@k`
        (an answer's words stand in one of the first k, gold or not; upper and lower case
        alike), and `mrr` and `map` over the first `depth`. A question on which the retriever
        fails scores 0 and says why. Counts: questions, answerable, unanswerable, failed,
        gold_missing (a gold review is not among the candidates), candidates_median,
        candidates_max, depth.

    Raises:
        EvaluationError: no question can be answered, all of them failed, or the scope needs
            items and a label names none.
    """
    from haystack.core.errors import PipelineRuntimeError

    from qa_system.pipelines import last, retrieve

    features: Sequence[Mapping[str, str]] = [{}] * len(labels) if slices is None else slices
    asked = [pair for pair in zip(labels, features, strict=True) if gold_texts(pair[0])]
    if not asked:
        raise EvaluationError(
            "none of the questions has an answer, so that there is nothing to retrieve",
            remedy="Choose another split.",
        )
    depth = max(*ks, settings.retriever.top_k)
    pipeline = retrieve(store, _with_top_k(settings, depth))
    pipeline.warm_up()
    filters = filters_of(labels, scope)
    pools: dict[str, Texts] = {}
    rows = []
    with progress(settings.retriever.mode, unit="questions", total=len(asked)) as shown:
        for label, feature in asked:
            chosen = filters(label)
            pool = pools.get(repr(chosen))
            if pool is None:
                pool = pools[repr(chosen)] = _texts_of(store.filter_documents(chosen))
            found: Texts = {}
            error = None
            try:
                output = pipeline.run({"query": label.question, "filters": chosen})
                found = _texts_of(output[last(settings)]["documents"])
            except (QASystemError, PipelineRuntimeError) as fault:
                error = str(fault)
            said = _output(label, found, pool)
            scores = _scores(said["gold"], said["ranked"], said["answer_rank"], ks)
            rows.append(Row.of(label, scores, said, feature, error))
            shown.advance()
    failed = [row for row in rows if row.error is not None]
    if len(failed) == len(rows):
        raise EvaluationError(f"the retriever failed on every question: {failed[0].error}")
    sizes = [row.output["candidates"] for row in rows]
    return System(
        tuple(rows),
        counts={
            "questions": len(labels),
            "answerable": len(rows),
            "unanswerable": len(labels) - len(rows),
            "failed": len(failed),
            "gold_missing": sum(
                row.output["gold_candidates"] < len(row.output["gold"]) for row in rows
            ),
            "candidates_median": median(sizes),
            "candidates_max": max(sizes),
            "depth": depth,
        },
        details={"recall_at": _recall_over_k(rows, depth)},
    )


def references_of(evaluated: System, ks: Sequence[int]) -> dict[str, System]:
    """Give what random order and a perfect one score over the same candidates.

    Args:
        evaluated: what `evaluate_retriever` gave.
        ks: the cut-offs, as there.
    """
    depth = int(evaluated.counts["depth"])
    every_k = range(1, depth + 1)
    expected = [
        (
            expected_at_random(said["candidates"], said["gold_candidates"], every_k, depth),
            expected_at_random(said["candidates"], said["answer_candidates"], every_k, depth),
        )
        for said in (row.output for row in evaluated.rows)
    ]
    names = [name for name in evaluated.rows[0].scores if not name.startswith("answer_")]
    random = [
        {name: gold[name] for name in names}
        | {f"answer_recall@{k}": answer[f"hit_rate@{k}"] for k in ks}
        for gold, answer in expected
    ]
    perfect = []
    for row in evaluated.rows:
        said = row.output
        ranked = said["gold"][: said["gold_candidates"]]
        rank = 1 if said["answer_candidates"] else None
        best = {"gold": said["gold"], "ranked": ranked, "answer_rank": rank}
        perfect.append(
            replace(row, scores=_scores(said["gold"], ranked, rank, ks), output=best, error=None)
        )
    return {
        "random": System(
            tuple(
                replace(row, scores=scores, output={}, error=None)
                for row, scores in zip(evaluated.rows, random, strict=True)
            ),
            details={
                "recall_at": {
                    "k": list(every_k),
                    "gold": [fmean(gold[f"recall@{k}"] for gold, _ in expected) for k in every_k],
                    "answer": [
                        fmean(answer[f"hit_rate@{k}"] for _, answer in expected) for k in every_k
                    ],
                }
            },
        ),
        "oracle": System(tuple(perfect), details={"recall_at": _recall_over_k(perfect, depth)}),
    }


def _with_top_k(settings: Settings, top_k: int) -> Settings:
    retriever = settings.retriever.model_copy(update={"top_k": top_k})
    return settings.model_copy(update={"retriever": retriever})


def _texts_of(documents: Sequence[Document]) -> Texts:
    """Give the reviews in order of first appearance."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        review_id = document.meta.get("review_id", document.id)
        texts.setdefault(review_id, []).append((document.content or "").lower())
    return texts


def _output(label: Label, found: Texts, pool: Texts) -> dict[str, Any]:
    gold = gold_documents(label)
    answers = [answer.lower() for answer in gold_texts(label)]

    def holds(passages: Sequence[str]) -> bool:
        return any(answer in passage for passage in passages for answer in answers)

    ranks = (rank for rank, passages in enumerate(found.values(), start=1) if holds(passages))
    return {
        "ranked": list(found),
        "gold": sorted(gold),
        "answer_rank": next(ranks, None),
        "candidates": len(pool),
        "gold_candidates": len(gold & pool.keys()),
        "answer_candidates": sum(map(holds, pool.values())),
    }


def _scores(
    gold: Sequence[str], ranked: Sequence[str], answer_rank: int | None, ks: Sequence[int]
) -> dict[str, float | None]:
    scores: dict[str, float | None] = {}
    for k in ks:
        scores[f"recall@{k}"] = recall_at_k(ranked, gold, k)
        scores[f"hit_rate@{k}"] = hit_at_k(ranked, gold, k)
        scores[f"ndcg@{k}"] = ndcg_at_k(ranked, gold, k)
        scores[f"answer_recall@{k}"] = float(answer_rank is not None and answer_rank <= k)
    scores["mrr"] = reciprocal_rank(ranked, gold)
    scores["map"] = average_precision(ranked, gold)
    return scores


def _recall_over_k(rows: Sequence[Row], depth: int) -> dict[str, list[float]]:
    said = [row.output for row in rows]
    every_k = range(1, depth + 1)
    return {
        "k": list(every_k),
        "gold": [
            fmean(recall_at_k(each["ranked"], each["gold"], k) for each in said) for k in every_k
        ],
        "answer": [
            fmean(each["answer_rank"] is not None and each["answer_rank"] <= k for each in said)
            for k in every_k
        ],
    }
