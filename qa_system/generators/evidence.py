"""What a generator is given to read: the best few documents, scored as its prior wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from haystack import Document, component

from qa_system.errors import ConfigError

__all__ = ["EvidenceSelector", "evidence", "promising"]


def evidence(
    documents: Sequence[Document], scored: Sequence[Document] | None, top_k: int
) -> list[Document]:
    """Take the best documents and give each the score that the dense retriever gave it.

    RAG's p(z|x) is a softmax over dot products; a joined score, BM25's or a ranker's is none.
    A document that the dense retriever did not hand over scores no more than the last that it
    did, and gets that one's score.

    Args:
        documents: best first, whatever their scores.
        scored: the dense retriever's; None or empty where there was none: the documents then have
            no score, which RAG takes for a uniform prior.
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
    """Take the documents in which a reader sees an answer most likely, and those log-odds.

    A retriever finds reviews about the same thing as the question; a reader sees whether they
    answer it, and so says better which of them a generator should believe.

    Args:
        documents: what the reader read.
        log_odds: of each, `Reading.calibrated`; minus infinity: it has no text, and is left out.
        top_k: how many are taken.

    >>> read = [Document(id=name, content=name) for name in "abc"]
    >>> chosen, prior = promising(read, [-2.0, 1.5, 0.5], 2)
    >>> [document.id for document in chosen], prior
    (['b', 'c'], [1.5, 0.5])
    """
    order = sorted(
        (at for at, odds in enumerate(log_odds) if math.isfinite(odds)),
        key=lambda at: -log_odds[at],
    )[:top_k]
    return [documents[at] for at in order], [log_odds[at] for at in order]


@component
class EvidenceSelector:
    """Stand between retrieval and a generator: see `evidence`.

    Args:
        top_k: documents that come out at most.

    Raises:
        ConfigError: `top_k` is below 1.
    """

    def __init__(self, top_k: int = 5) -> None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}", remedy="Set it to 1 or more.")
        self.top_k = top_k

    @component.output_types(documents=list[Document])
    def run(
        self, documents: list[Document], scored: list[Document] | None = None
    ) -> dict[str, list[Document]]:
        """Give the best documents in their order, with the dense retriever's scores.

        Args:
            documents: best first.
            scored: what the dense retriever found.
        """
        return {"documents": evidence(documents, scored, self.top_k)}
