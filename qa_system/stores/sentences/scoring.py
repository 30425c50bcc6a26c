"""How well sentences fit a question: by its words and by its meaning, both from 0 to 1.

By words, BM25 with k1 = 0 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009):
in a sentence neither the frequency of a word nor the length says much, so that a word counts its
inverse document frequency once. That is taken over the sentences that are scored: in reviews of a
camera "camera" tells little. Divided by the sum over all the question's words it is the share of
the question that a sentence has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.sentences.columns import SentenceColumns, terms_of

__all__ = ["SentenceQuery", "cosines", "cosines_of_reviews", "lexical", "presence", "score"]

FloatArray = NDArray[np.float32]

CHUNK: Final = 512
"""Sentences whose embeddings are widened at a time: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class SentenceQuery:
    """A question as sentences are compared with it.

    Args:
        terms: hashes of its distinct terms without function words, (q,).
        vector: its embedding with length 1, (dimension,); None: words alone count.
        bm25_weight: share of the words; the embedding has the rest.
    """

    terms: NDArray[np.uint32]
    vector: FloatArray | None
    bm25_weight: float

    @classmethod
    def of(cls, text: str, embedding: FloatArray | None, bm25_weight: float) -> Self:
        """Prepare a question.

        Args:
            text: in plain words.
            embedding: (dimension,) of any length; None: there is none.
            bm25_weight: from 0 to 1.
        """
        vector = None
        if embedding is not None:
            length = float(np.linalg.norm(embedding.astype(np.float64)))
            vector = np.asarray(embedding / (length or 1.0), np.float32)
        return cls(np.array(terms_of(text), np.uint32), vector, bm25_weight)


def score(
    columns: SentenceColumns, query: SentenceQuery, of_review: FloatArray | None = None
) -> FloatArray:
    """Return the score of each sentence, (n,).

    Args:
        columns: the sentences that are compared with each other.
        query: the question.
        of_review: (n,) the cosine of the review that a sentence is of, in place of its own where
            it has no embedding; NaN where the review has none, either: its words alone count.
            None: all of those are NaN.

    >>> from qa_system.stores.sentences.columns import columns_of
    >>> columns = columns_of(1, "Loud bass. Big.", [(0, 10), (11, 15)], None)
    >>> score(columns, SentenceQuery.of("How is the bass?", None, 0.5)).tolist()
    [1.0, 0.0]
    """
    words = lexical(presence(columns.terms, columns.counts, query.terms))
    if query.vector is None:
        return words
    meaning = cosines(columns.vectors, columns.scales, query.vector, columns.places)
    without = np.float32(np.nan) if of_review is None else of_review
    meaning = np.where(columns.scales == 0, without, meaning)
    both = combined(words, meaning, query.bm25_weight)
    return np.where(np.isnan(meaning), words, both)


def combined(words: FloatArray, meaning: FloatArray, bm25_weight: float) -> FloatArray:
    """Return the weighted sum of the two parts."""
    weight = np.float32(bm25_weight)
    return weight * words + (1 - weight) * meaning


def presence(
    terms: NDArray[np.uint32], counts: NDArray[np.uint32], wanted: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Tell which sentence has which of the question's terms, (n, q).

    Args:
        terms: of all sentences, one after the other, (t,).
        counts: how many each sentence has, (n,).
        wanted: the question's, (q,).
    """
    owners = np.repeat(np.arange(len(counts)), counts)
    found = np.zeros((len(counts), len(wanted)), np.bool_)
    for place, term in enumerate(wanted):
        found[owners[terms == term], place] = True
    return found


def lexical(found: NDArray[np.bool_]) -> FloatArray:
    """Return the share of the question's words that each sentence has, rare words weighing more.

    Args:
        found: see `presence`.

    >>> lexical(np.array([[True, True], [True, False]])).round(3).astype(str).tolist()
    ['1.0', '0.387']
    """
    having = found.sum(axis=0)
    weights = np.log1p(len(found) / np.maximum(having, 1))
    # A word that no sentence has is a part of the question, or a typo. It weighs as much as the
    # rarest that is there: more would make all scores sink with the number of sentences.
    weights[having == 0] = weights[having > 0].max(initial=0.0)
    total = weights.sum()
    shares = np.empty(len(found))
    _dot(found.astype(np.float64), weights / (total or 1.0), shares)
    return shares.astype(np.float32)


def cosines(
    vectors: NDArray[np.int8],
    scales: FloatArray,
    query: FloatArray,
    places: NDArray[np.int64] | None = None,
) -> FloatArray:
    """Return the cosine between a question and each sentence, (n,).

    Args:
        vectors: (n, dimension) steps; (n, 0): there are none.
        scales: what a step is worth, (n,).
        query: (dimension,) of length 1.
        places: the row of `vectors` that each sentence has, (n,); None: its own.
    """
    count = len(scales)
    found = np.zeros(count, np.float32)
    if vectors.shape[1] == 0:
        return found
    wide = np.empty((min(CHUNK, count), vectors.shape[1]), np.float32)
    for start in range(0, count, CHUNK):
        rows = slice(start, start + CHUNK)
        chunk = vectors[rows if places is None else places[rows]]
        block = wide[: len(chunk)]
        np.copyto(block, chunk)
        _dot(block, query, found[start : start + len(chunk)])
    return found * scales


def cosines_of_reviews(vectors: FloatArray, query: FloatArray) -> FloatArray:
    """Return the cosine between a question and each embedding of a review, (n,).

    Args:
        vectors: (n, dimension) of any length; one of zeros has the cosine 0.
        query: (dimension,) of length 1.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1).astype(np.float32)
    found = np.empty(len(vectors), np.float32)
    _dot(vectors, query, found)
    lengths[lengths == 0] = 1
    found /= lengths
    return found


def _dot(rows: NDArray[Any], vector: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the product of each row with a vector.

    Not by BLAS, where a sum depends on the row's place: equal sentences would be no tie.
    """
    np.einsum("ij,j->i", rows, vector, out=out)
