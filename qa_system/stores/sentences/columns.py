"""What is kept of a sentence: its place in its review, an 8-bit embedding and its terms.

A number of an embedding is one of 255 steps of its sentence's own scale. Only the direction of an
embedding is kept: sentences are compared by the cosine, whatever the store's similarity is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.analysis import analyze, function_terms
from qa_system.texts.passages import Spans
from qa_system.texts.sentences import sentences

__all__ = [
    "SentenceColumns",
    "columns_of",
    "joined",
    "quantized",
    "term_hash",
    "terms_of",
    "unembedded_columns",
]

STEPS: Final = 127


@dataclass(frozen=True, slots=True)
class SentenceColumns:
    """Sentences of one or more reviews; those of a review follow each other, in its order.

    Args:
        reviews: which review each sentence is of: a number that the store chooses, (n,).
        spans: start and end characters in the review, (n, 2).
        vectors: embeddings in steps of `scales`, (n, dimension); (n, 0): none.
        scales: what a step is worth, (n,); 0 where a sentence has no embedding.
        counts: how many of `terms` each sentence has, (n,).
        terms: hashes of the distinct terms of each sentence without function words, (t,).
        places: which row of `vectors` each sentence has, (n,); None: its own. So the embeddings
            of a few sentences need not be copied out of a file of many.
    """

    reviews: NDArray[np.int64]
    spans: NDArray[np.uint32]
    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    counts: NDArray[np.uint32]
    terms: NDArray[np.uint32]
    places: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.reviews)


def columns_of(
    review: int, text: str, spans: Spans, embeddings: NDArray[np.float32] | None
) -> SentenceColumns:
    """Return what is kept of a review's sentences.

    Args:
        review: its number.
        text: the whole review.
        spans: start and end characters of its sentences, in order.
        embeddings: a row for each, (n, dimension); None: they have none.

    >>> columns = columns_of(7, "It is light. So light!", [(0, 12), (13, 22)],
    ...     np.array([[0.6, -0.8], [0.0, 2.0]], np.float32))
    >>> columns.vectors.tolist(), columns.counts.tolist()
    ([[95, -127], [0, 127]], [1, 1])
    """
    count = len(spans)
    kept = [terms_of(text[start:end]) for start, end in spans]
    if embeddings is None:
        vectors, scales = np.zeros((count, 0), np.int8), np.zeros(count, np.float32)
    else:
        vectors, scales = quantized(embeddings)
    return SentenceColumns(
        reviews=np.full(count, review, np.int64),
        spans=np.array(spans, np.uint32).reshape(count, 2),
        vectors=vectors,
        scales=scales,
        counts=np.array([len(terms) for terms in kept], np.uint32),
        terms=np.array([term for terms in kept for term in terms], np.uint32),
    )


def unembedded_columns(reviews: Iterable[tuple[int, str]]) -> SentenceColumns:
    """Divide reviews that were written without sentences; these have no embeddings.

    Args:
        reviews: their numbers and texts.
    """
    made = [columns_of(number, text, sentences(text), None) for number, text in reviews]
    return joined(made)


def joined(parts: Sequence[SentenceColumns]) -> SentenceColumns:
    """Return the sentences of several columns as one; a part without embeddings gets zeros.

    >>> len(joined([]))
    0
    """
    width = max((part.vectors.shape[1] for part in parts), default=0)
    empty = columns_of(0, "", [], np.zeros((0, width), np.float32))
    widened = [empty.vectors]
    for part in parts:
        missing = width - part.vectors.shape[1]
        widened.append(np.pad(part.vectors, ((0, 0), (0, missing))) if missing else part.vectors)
    whole = [empty, *parts]
    return SentenceColumns(
        reviews=np.concatenate([part.reviews for part in whole]),
        spans=np.concatenate([part.spans for part in whole]),
        vectors=np.concatenate(widened),
        scales=np.concatenate([part.scales for part in whole]),
        counts=np.concatenate([part.counts for part in whole]),
        terms=np.concatenate([part.terms for part in whole]),
    )


def quantized(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Scale embeddings to length 1; return them as steps, and what a step of each is worth.

    Args:
        embeddings: (n, dimension); one of zeros stays one.
    """
    wide = embeddings.astype(np.float64)  # of 32 bits, squares of large numbers are infinite
    lengths = np.linalg.norm(wide, axis=1)
    largest = np.abs(wide).max(axis=1, initial=0.0)
    steps = np.rint(wide * (STEPS / np.where(largest == 0, 1, largest))[:, None])
    scales = largest / np.where(lengths == 0, 1, lengths) / STEPS
    return steps.astype(np.int8), scales.astype(np.float32)


def terms_of(text: str) -> list[int]:
    """Return the hashes of a text's distinct terms, in order, without function words.

    >>> terms_of("The sound is a sound.") == [term_hash("sound")]
    True
    """
    known = function_terms()
    return [term_hash(term) for term in dict.fromkeys(analyze(text)) if term not in known]


def term_hash(term: str) -> int:
    """Return the CRC-32 of a term: the same in every process."""
    return zlib.crc32(term.encode())
