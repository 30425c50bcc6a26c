"""Does the retriever find the gold review? The users' own retrieving pipeline is evaluated.

A question counts if it has an answer; one without has no gold review and is counted apart. Every
retriever is compared with baselines over the same candidates: random order (its expected value,
in closed form), BM25, and an oracle that ranks the gold reviews first. In SubjQA's item scope
random order scores high, as an item has few reviews.

Reviews with equal scores have no order: retrievers return a tie whole, and metrics are means over
all its orders. What a ranker reads are the candidates that users' ranker reads, cut in a tie by the
hash of the id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from eval.metrics import expect_all, metrics_of, score_all
from eval.metrics.ranking import Tie, hit_in_tie, recall_at_k, recall_at_random, ties_of
from eval.runs.run import Row, System
from eval.tasks.candidates import Filters, Scope, filters_of
from qa_system.config import Settings
from qa_system.console.progress import progress
from qa_system.errors import EvaluationError, QASystemError
from qa_system.labels import gold_documents, gold_texts
from qa_system.metrics import first_hit_at_random
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document, Pipeline

    from qa_system.stores.contract import ReviewStore

__all__ = ["baselines_of", "evaluate_retriever", "headline_of"]

Texts = Mapping[str, Sequence[str]]
"""Review ids, each with the lower-cased texts of its passages."""


def headline_of(ks: Sequence[int]) -> tuple[str, ...]:
    """Return the metrics that a table of retrievers shows.

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
        settings: `retriever`, `encoder` and `ranker` say what runs. It returns as many documents
            as the largest k, if that is more than `retriever.top_k`.
        scope: which reviews are candidates.
        ks: the cut-offs.
        slices: features of each label; None: none.

    Returns:
        A row for each answerable question, scored by the retriever's metrics; `mrr` and `map`
        look at the first `depth`. Its `ranked` goes on to the end of the tie there, if any. A
        question on which the retriever fails scores 0, and its row has the error. Counts:
        questions, answerable, unanswerable, failed, gold_missing (a gold review is not among the
        candidates), candidates_median, candidates_max, depth.

    Raises:
        EvaluationError: no question has an answer, all of them failed, or the scope needs items
            and a label names none.
    """
    features: Sequence[Mapping[str, str]] = [{}] * len(labels) if slices is None else slices
    asked = [pair for pair in zip(labels, features, strict=True) if gold_texts(pair[0])]
    if not asked:
        raise EvaluationError(
            "none of the questions has an answer, so that there is nothing to retrieve",
            remedy="Choose another split.",
        )
    depth = max(*ks, settings.retriever.top_k)
    metrics = metrics_of("retriever", ks)
    retrieve = _retriever(store, settings, depth, filters_of(labels, scope))
    rows = []
    with progress(settings.retriever.mode, unit="questions", total=len(asked)) as shown:
        for label, feature in asked:
            output, error = retrieve(label)
            scores = score_all(metrics, label, output, depth=depth, failed=error is not None)
            rows.append(Row.of(label, scores, output, feature, error))
            shown.advance()
    failed = [row for row in rows if row.error is not None]
    if len(failed) == len(rows):
        raise EvaluationError(f"the retriever failed on every question: {failed[0].error}")
    counts = _counts(rows, len(labels), depth)
    return System(tuple(rows), counts=counts, details={"recall_at": _recall_over_k(rows, depth)})


def baselines_of(
    labels: Sequence[Label], evaluated: System, ks: Sequence[int]
) -> dict[str, System]:
    """Return what random order and a perfect ranking score over the same candidates.

    Args:
        labels: as in `evaluate_retriever`.
        evaluated: what it returned.
        ks: the cut-offs, as there.
    """
    depth = int(evaluated.counts["depth"])
    metrics = metrics_of("retriever", ks)
    label_of = {(label.split, label.question_id): label for label in labels}
    random, perfect = [], []
    for row in evaluated.rows:
        label, output = label_of[row.key], row.output
        expected = expect_all(metrics, label, output, depth=depth)
        random.append(replace(row, scores=expected, output={}, error=None))
        best = {
            "gold": output["gold"],
            "ranked": output["gold"][: output["gold_candidates"]],
            "scores": None,
            "answer_rank": 1 if output["answer_candidates"] else None,
            "answer_tie": (1, 1),
        }
        scores = score_all(metrics, label, {**output, **best}, depth=depth)
        perfect.append(replace(row, scores=scores, output=best, error=None))
    curve = _random_recall_over_k(evaluated.rows, depth)
    return {
        "random": System(tuple(random), details={"recall_at": curve}),
        "oracle": System(tuple(perfect), details={"recall_at": _recall_over_k(perfect, depth)}),
    }


def _retriever(
    store: ReviewStore, settings: Settings, depth: int, filters: Callable[[Label], Filters]
) -> Callable[[Label], tuple[dict[str, Any], str | None]]:
    """Return what asks one question: a row's output, and the error if there was one."""
    from haystack.core.errors import PipelineRuntimeError

    from qa_system.pipelines import last, retrieve

    retriever = settings.retriever.model_copy(update={"top_k": depth})
    pipeline = retrieve(store, settings.model_copy(update={"retriever": retriever}))
    pipeline.warm_up()
    end = last(settings)
    pools: dict[str, Texts] = {}

    def ask(label: Label) -> tuple[dict[str, Any], str | None]:
        chosen = filters(label)
        pool = pools.get(repr(chosen))
        if pool is None:
            pool = pools[repr(chosen)] = _texts_of(store.filter_documents(chosen))
        try:
            found = pipeline.run(_inputs(pipeline, end, query=label.question, filters=chosen))
        except (QASystemError, PipelineRuntimeError) as error:
            return _output(label, (), pool), str(error)
        return _output(label, found[end]["documents"], pool), None

    return ask


def _inputs(pipeline: Pipeline, end: str, **asked: Any) -> dict[str, dict[str, Any]]:
    """Return each component's inputs; what ends the pipeline is to return ties whole.

    Components before a ranker hand over what they hand over to users.
    """
    inputs = {}
    for name, sockets in pipeline.inputs().items():
        whole = {"whole_ties": True} if end in ("retriever", name) else {}
        inputs[name] = {key: value for key, value in (asked | whole).items() if key in sockets}
    return inputs


def _texts_of(documents: Iterable[Document]) -> Texts:
    """Return the reviews in order of first appearance."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        texts.setdefault(_review_of(document), []).append((document.content or "").lower())
    return texts


def _review_of(document: Document) -> str:
    return str(document.meta.get("review_id", document.id))


def _output(label: Label, documents: Sequence[Document], pool: Texts) -> dict[str, Any]:
    gold = gold_documents(label)
    answers = [answer.lower() for answer in gold_texts(label)]

    def holds(passages: Sequence[str]) -> bool:
        return any(answer in passage for passage in passages for answer in answers)

    found = _texts_of(documents)
    # A review is as good as the best of its documents, which stands first.
    score_of = {_review_of(each): each.score for each in reversed(documents)}
    scores = [score_of[review] for review in found]
    ties = ties_of(list(map(holds, found.values())), scores)
    first = ties[0] if ties else Tie(0, 1, 1)
    return {
        "ranked": list(found),
        "scores": scores,
        "gold": sorted(gold),
        "answer_rank": first.above + 1 if ties else None,
        "answer_tie": (first.size, first.gold),
        "candidates": len(pool),
        "gold_candidates": len(gold & pool.keys()),
        "answer_candidates": sum(map(holds, pool.values())),
    }


def _counts(rows: Sequence[Row], questions: int, depth: int) -> dict[str, float]:
    sizes = [row.output["candidates"] for row in rows]
    return {
        "questions": questions,
        "answerable": len(rows),
        "unanswerable": questions - len(rows),
        "failed": sum(row.error is not None for row in rows),
        "gold_missing": sum(
            row.output["gold_candidates"] < len(row.output["gold"]) for row in rows
        ),
        "candidates_median": median(sizes),
        "candidates_max": max(sizes),
        "depth": depth,
    }


def _recall_over_k(rows: Sequence[Row], depth: int) -> dict[str, list[float]]:
    outputs = [row.output for row in rows]
    every_k = range(1, depth + 1)
    return {
        "k": list(every_k),
        "gold": [
            fmean(recall_at_k(each["ranked"], each["gold"], k, each["scores"]) for each in outputs)
            for k in every_k
        ],
        "answer": [
            fmean(hit_in_tie(each["answer_rank"], each["answer_tie"], k) for each in outputs)
            for k in every_k
        ],
    }


def _random_recall_over_k(rows: Sequence[Row], depth: int) -> dict[str, list[float]]:
    every_k = range(1, depth + 1)
    answered = []
    for row in rows:
        sizes = row.output["candidates"], row.output["answer_candidates"]
        so_far = list(accumulate(first_hit_at_random(*sizes, depth))) or [0.0]
        answered.append(so_far + so_far[-1:] * (depth - len(so_far)))
    return {
        "k": list(every_k),
        "gold": [
            fmean(
                recall_at_random(row.output["candidates"], row.output["gold_candidates"], k)
                for row in rows
            )
            for k in every_k
        ],
        "answer": [fmean(column) for column in zip(*answered, strict=True)],
    }
