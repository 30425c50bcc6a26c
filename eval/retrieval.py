"""Is the review that answers found? The users' retrieving pipeline against gold reviews.

A question counts if it can be answered; those that cannot have no gold review, are counted
apart and are never a hit. Beside every retriever stand two lines of reference over the same
candidates: random order (its expectation, in closed form) and an oracle that puts the gold
review first. On SubjQA's item scope random order is a strong competitor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

import orjson

from eval.labels import gold_documents, gold_texts
from eval.metrics import (
    average_precision,
    expected_at_random,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)
from qa_system.config import IndexingSettings, Settings
from qa_system.errors import EvaluationError
from qa_system.progress import progress
from qa_system.records import Label, Review

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.stores.faiss import FAISSDocumentStore

__all__ = [
    "RetrievalRow",
    "RetrieverEvaluation",
    "Scope",
    "evaluate_retriever",
    "store_of",
]

Scope = Literal["item-split", "item", "open"]
"""The candidates: the item's reviews that the label's split asks about; all of the item's
reviews; all reviews."""


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """What was retrieved for one answerable question.

    Args:
        question_id: the label's.
        question: its text.
        item_id: the item asked about.
        gold: ids of the reviews that answer it.
        ranked: ids of the reviews retrieved, best first, each once.
        answer_rank: rank, from 1, of the first one whose text holds a gold answer, upper and
            lower case alike; None if none does.
        candidates: reviews that could have been retrieved.
        gold_candidates: gold reviews among them.
        answer_candidates: those among them whose text holds a gold answer.
    """

    question_id: str
    question: str
    item_id: str | None
    gold: tuple[str, ...]
    ranked: tuple[str, ...]
    answer_rank: int | None
    candidates: int
    gold_candidates: int
    answer_candidates: int

    def to_dict(self) -> dict[str, Any]:
        """Give the row as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RetrieverEvaluation:
    """One retriever's numbers.

    Args:
        metrics: means over the answerable questions: `recall@k`, `hit_rate@k`, `ndcg@k`,
            `answer_recall@k` (an answer's words stand in one of the first k, gold or not),
            `mrr` and `map` over the first `depth`.
        references: the same for `random` order and the `oracle`.
        counts: questions, answerable, unanswerable, gold_missing (gold review not among the
            candidates: scored 0), candidates_median, candidates_max, depth.
        rows: one for each answerable question.
    """

    metrics: Mapping[str, float]
    references: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, float]
    rows: tuple[RetrievalRow, ...]


def evaluate_retriever(
    labels: Sequence[Label],
    store: FAISSDocumentStore,
    settings: Settings,
    *,
    scope: Scope,
    ks: Sequence[int],
) -> RetrieverEvaluation:
    """Run the users' retriever over labelled questions.

    Args:
        labels: of one split or several.
        store: holds the reviews.
        settings: `retriever` and `encoder` say what runs. It retrieves as many documents as
            the largest k, if that is more than `retriever.top_k`.
        scope: which reviews are candidates.
        ks: the cut-offs.

    Raises:
        EvaluationError: no question can be answered, or the scope needs items and a label
            names none.
    """
    from qa_system.pipelines import retrieve

    answerable = [label for label in labels if gold_texts(label)]
    if not answerable:
        raise EvaluationError(
            "none of the questions has an answer, so that there is nothing to retrieve",
            remedy="Choose another split.",
        )
    depth = max(*ks, settings.retriever.top_k)
    pipeline = retrieve(store, _with_top_k(settings, depth))
    pipeline.warm_up()
    filters = _filters(labels, scope)
    pools: dict[str, dict[str, list[str]]] = {}
    rows = []
    with progress(settings.retriever.mode, unit="questions", total=len(answerable)) as shown:
        for label in answerable:
            chosen = filters(label)
            pool = pools.get(repr(chosen))
            if pool is None:
                pool = pools[repr(chosen)] = _reviews_of(store.filter_documents(chosen))
            found = pipeline.run({"query": label.question, "filters": chosen})
            rows.append(_row(label, _reviews_of(found["retriever"]["documents"]), pool))
            shown.advance()
    return _summarise(rows, len(labels), sorted(set(ks)), depth)


@contextmanager
def store_of(
    reviews: Iterable[Review], settings: Settings, *, embed: bool
) -> Iterator[FAISSDocumentStore]:
    """Run the indexing job over reviews, into a store that lives for a while.

    Args:
        reviews: distinct by id.
        settings: `encoder`, `store.similarity`, `store.index`, `indexing.passages` and
            `indexing.batch_size` say how.
        embed: with embeddings; without them the store is good for BM25 only.

    Raises:
        TooManyRejectsError: the job refuses a review.
    """
    from indexing.job import run_job
    from qa_system.stores import open_store

    with tempfile.TemporaryDirectory(prefix="qa-eval-") as folder:
        source = Path(folder) / "reviews.jsonl"
        with source.open("wb") as file:
            file.writelines(map(_json_line, reviews))
        indexing = IndexingSettings(
            sources=(str(source),),
            format="jsonl",
            batch_size=settings.indexing.batch_size,
            passages=settings.indexing.passages,
            embed=embed,
            max_rejects=0,
        )
        place = settings.store.model_copy(update={"path": str(Path(folder) / "store")})
        run_job(settings.model_copy(update={"store": place, "indexing": indexing}))
        with open_store(place) as store:
            yield store


def _json_line(review: Review) -> bytes:
    row = {**review.meta, "review_id": review.id, "item_id": review.item_id, "text": review.text}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _with_top_k(settings: Settings, top_k: int) -> Settings:
    retriever = settings.retriever.model_copy(update={"top_k": top_k})
    return settings.model_copy(update={"retriever": retriever})


def _filters(labels: Sequence[Label], scope: Scope) -> Callable[[Label], dict[str, Any] | None]:
    """Say which filter selects a label's candidates."""
    if scope == "open":
        return lambda _: None
    nameless = sum(label.item_id is None for label in labels)
    if nameless:
        raise EvaluationError(
            f"scope {scope!r} needs items, and {nameless} labels name none",
            remedy="Use --scope open.",
        )
    if scope == "item":
        return lambda label: _filter("item_id", "==", label.item_id)
    # A review can stand in several splits: the labels say in which, the store need not know.
    asked: dict[tuple[str | None, str | None], dict[str, None]] = {}
    for label in labels:
        asked.setdefault((label.split, label.item_id), {})[label.review_id] = None
    return lambda label: _filter("review_id", "in", list(asked[label.split, label.item_id]))


def _filter(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"field": f"meta.{field}", "operator": operator, "value": value}


def _reviews_of(documents: Sequence[Document]) -> dict[str, list[str]]:
    """Give review ids in order of first appearance, each with the texts of its passages."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        review_id = document.meta.get("review_id", document.id)
        texts.setdefault(review_id, []).append((document.content or "").lower())
    return texts


def _row(
    label: Label, found: Mapping[str, list[str]], pool: Mapping[str, list[str]]
) -> RetrievalRow:
    gold = gold_documents(label)
    answers = [answer.lower() for answer in gold_texts(label)]

    def holds(passages: Sequence[str]) -> bool:
        return any(answer in passage for passage in passages for answer in answers)

    return RetrievalRow(
        question_id=label.question_id,
        question=label.question,
        item_id=label.item_id,
        gold=tuple(sorted(gold)),
        ranked=tuple(found),
        answer_rank=next(
            (rank for rank, passages in enumerate(found.values(), start=1) if holds(passages)),
            None,
        ),
        candidates=len(pool),
        gold_candidates=len(gold & pool.keys()),
        answer_candidates=sum(map(holds, pool.values())),
    )


def _summarise(
    rows: Sequence[RetrievalRow], questions: int, ks: Sequence[int], depth: int
) -> RetrieverEvaluation:
    return RetrieverEvaluation(
        metrics=_mean([_scores(row, row.ranked, ks, row.answer_rank) for row in rows]),
        references={
            "random": _mean([_at_random(row, ks, depth) for row in rows]),
            "oracle": _mean(
                [
                    _scores(
                        row,
                        row.gold[: row.gold_candidates],
                        ks,
                        1 if row.answer_candidates else None,
                    )
                    for row in rows
                ]
            ),
        },
        counts={
            "questions": questions,
            "answerable": len(rows),
            "unanswerable": questions - len(rows),
            "gold_missing": sum(row.gold_candidates < len(row.gold) for row in rows),
            "candidates_median": median(row.candidates for row in rows),
            "candidates_max": max(row.candidates for row in rows),
            "depth": depth,
        },
        rows=tuple(rows),
    )


def _scores(
    row: RetrievalRow, ranked: Sequence[str], ks: Sequence[int], answer_rank: int | None
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for k in ks:
        scores[f"recall@{k}"] = recall_at_k(ranked, row.gold, k)
        scores[f"hit_rate@{k}"] = hit_at_k(ranked, row.gold, k)
        scores[f"ndcg@{k}"] = ndcg_at_k(ranked, row.gold, k)
        scores[f"answer_recall@{k}"] = float(answer_rank is not None and answer_rank <= k)
    scores["mrr"] = reciprocal_rank(ranked, row.gold)
    scores["map"] = average_precision(ranked, row.gold)
    return scores


def _at_random(row: RetrievalRow, ks: Sequence[int], depth: int) -> dict[str, float]:
    scores = expected_at_random(row.candidates, row.gold_candidates, ks, depth)
    answers = expected_at_random(row.candidates, row.answer_candidates, ks, depth)
    return scores | {f"answer_recall@{k}": answers[f"hit_rate@{k}"] for k in ks}


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in scores) for name in scores[0]}
