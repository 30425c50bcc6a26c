"""The generator's input: the best few documents, with the scores that its prior needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from haystack import Document, component

from qa_system.arguments import checked
from qa_system.ties import best_first

__all__ = ["EvidenceSelector", "evidence", "promising"]


def evidence(
    documents: Sequence[Document], scored: Sequence[Document] | None, top_k: int
) -> list[Document]:
    """Take the best documents, each with its score from the dense retriever.

    RAG's p(z|x) is a softmax over dot products. Scores of BM25, of a ranker or of a join are not
    dot products. A document that the dense retriever did not return gets the lowest score that
    it did return.

    Args:
        documents: best first, whatever their scores.
        scored: the dense retriever's documents. If there are none, the documents have no score,
            which means a uniform prior to RAG.
        top_k: how many are taken.

    >>> found = [Document(id=name, content="", score=1.0) for name in "abc"]
    >>> dense = [Document(id="b", content="", score=0.8), Document(id="d", content="", score=0.5)]
    >>> [(document.id, document.score) for document in evidence(found, dense, 2)]
    [('a', 0.5), ('b', 0.8)]
    """
    scores = {
        document.id: document.score for document in scored or () if document.score is not None
    }
    least = min(scores.values(), default=None)
    return [
        replace(document, score=scores.get(document.id, least)) for document in documents[:top_k]
    ]


def promising(
    documents: Sequence[Document], log_odds: Sequence[float], top_k: int
) -> tuple[list[Document], list[float]]:
    """Take the documents in which a reader most likely sees an answer, and their log-odds.

    A retriever finds reviews on the topic of the question. A reader also sees whether they answer
    it, so its log-odds are a better prior for a generator.

    Args:
        documents: what the reader read.
        log_odds: of each document, `Reading.calibrated`; minus infinity for a document without
            text, which is left out.
        top_k: how many are taken.

    >>> read = [Document(id=name, content=name) for name in "abc"]
    >>> chosen, prior = promising(read, [-2.0, 1.5, 0.5], 2)
    >>> [document.id for document in chosen], prior
    (['b', 'c'], [1.5, 0.5])
    """
    order = best_first(
        (at for at, odds in enumerate(log_odds) if math.isfinite(odds)),
        log_odds.__getitem__,
        lambda at: documents[at].id,
    )[:top_k]
    return [documents[at] for at in order], [log_odds[at] for at in order]


@component
@checked
class EvidenceSelector:
    """Select what a generator reads from what was retrieved: see `evidence`.

    Args:
        top_k: documents that come out at most.

    Raises:
        InvalidArgumentError: `top_k` is below 1.
    """

    def __init__(self, top_k: int = 5) -> None:
        self.top_k = top_k

    @component.output_types(documents=list[Document])
    def run(
        self, documents: list[Document], scored: list[Document] | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents in their order, with the dense retriever's scores.

        Args:
            documents: best first.
            scored: the dense retriever's documents.
        """
        return {"documents": evidence(documents, scored, self.top_k)}
