"""The rankings of BM25 and the dense retriever joined to one, as a Haystack component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby, islice
from statistics import fmean
from typing import Any, Literal

from haystack import Document, component, default_to_dict

from qa_system.config import RetrieverSettings
from qa_system.retrievers.normalize import ScoreNormalizer
from qa_system.ties import best_documents, score_of

__all__ = ["HybridJoiner"]

DEFAULTS = RetrieverSettings()
CANDIDATES_PER_RESULT = 2
"""Documents that each retriever hands to the joiner for one that comes out."""
RANK_CONSTANT = 60
"""Source: Cormack, Clarke and Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods, SIGIR 2009."""


@component
class HybridJoiner:
    """Join two rankings of documents.

    Args:
        join: `weighted_sum` of the scores, each ranking mapped onto 0 to 1 (its lowest score to 0;
            of a `bm25` that leaves out documents without a shared word, their score, 0), or
            `reciprocal_rank_fusion`. There, documents of one ranking with equal scores share the
            mean of what their ranks are worth, and the best possible score is 1.
        bm25_weight: share of BM25 in a weighted sum; the dense retriever has the rest.
        top_k: documents returned at most.

    >>> bm25 = [Document(id="a", content="", score=8.0), Document(id="b", content="", score=4.0)]
    >>> dense = [Document(id="b", content="", score=0.9), Document(id="c", content="", score=0.5)]
    >>> found = HybridJoiner(bm25_weight=0.25).run(bm25, dense)["documents"]
    >>> [(document.id, document.score) for document in found]
    [('b', 0.75), ('a', 0.25), ('c', 0.0)]
    """

    def __init__(
        self,
        join: Literal["weighted_sum", "reciprocal_rank_fusion"] = DEFAULTS.join,
        bm25_weight: float = DEFAULTS.bm25_weight,
        top_k: int = DEFAULTS.top_k,
    ) -> None:
        self.join = join
        self.bm25_weight = bm25_weight
        self.top_k = top_k

    def to_dict(self) -> dict[str, Any]:
        """Serialise every argument."""
        return default_to_dict(self, join=self.join, bm25_weight=self.bm25_weight, top_k=self.top_k)

    @component.output_types(documents=list[Document])
    def run(
        self,
        bm25: list[Document],
        dense: list[Document],
        top_k: int | None = None,
        whole_ties: bool = False,
    ) -> dict[str, list[Document]]:
        """Return the documents of both rankings, best first.

        Args:
            bm25: best first, as `dense` is.
            dense: of a document that both have, this one is returned.
            top_k: takes the place of the component's own.
            whole_ties: also return those beyond `top_k` whose score is that of the last.
        """
        if self.join == "weighted_sum":
            parts = (
                _weighted(bm25, self.bm25_weight, low=self._low(bm25, dense)),
                _weighted(dense, 1 - self.bm25_weight),
            )
        else:
            parts = _reciprocal(bm25), _reciprocal(dense)
        scores: Counter[str] = Counter()
        for part in parts:
            scores.update(part)
        documents = {document.id: document for document in (*bm25, *dense)}
        joined = (replace(document, score=scores[name]) for name, document in documents.items())
        kept = self.top_k if top_k is None else top_k
        return {"documents": best_documents(joined, kept, whole_ties=whole_ties)}

    def _low(self, bm25: Sequence[Document], dense: Sequence[Document]) -> float | None:
        """Return 0 if BM25 left out documents because they share no word, else None."""
        # A dense ranking with whole ties can be longer than what BM25 was asked for.
        asked = min(len(dense), CANDIDATES_PER_RESULT * self.top_k)
        return 0.0 if len(bm25) < asked else None


def _weighted(
    ranking: Sequence[Document], weight: float, low: float | None = None
) -> Mapping[str, float]:
    scored = ScoreNormalizer(weight).run(list(ranking), low)["documents"]
    return {document.id: score_of(document) for document in scored}


def _reciprocal(ranking: Sequence[Document]) -> Mapping[str, float]:
    """Return each document's share; that of a first rank is a half."""
    worth = ((RANK_CONSTANT + 1) / (RANK_CONSTANT + rank) / 2 for rank in count(1))
    found: dict[str, float] = {}
    for _, group in groupby(ranking, score_of):
        names = [document.id for document in group]
        found |= dict.fromkeys(names, fmean(islice(worth, len(names))))
    return found
