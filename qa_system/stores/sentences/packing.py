"""The sentences of one review as one value of bytes, for a store that keeps them beside it.

A version and a checksum of what follows: a changed value is refused, and never scored. Then how
many sentences and numbers in an embedding there are; the place, scale and number of terms of each
sentence; all embeddings; all terms.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np

from qa_system.stores.documents import decoding
from qa_system.stores.sentences.columns import SentenceColumns

__all__ = ["pack", "unpack"]

VERSION: Final = 1
_HEAD: Final = np.dtype([("version", "u1"), ("checksum", "<u4")])
_SENTENCE: Final = np.dtype([("start", "<u4"), ("end", "<u4"), ("scale", "<f4"), ("terms", "<u4")])


def pack(columns: SentenceColumns) -> bytes:
    """Return the sentences of one review as bytes; its number is not kept.

    Args:
        columns: of one review.

    >>> from qa_system.stores.sentences.columns import columns_of
    >>> len(pack(columns_of(1, "Light. Cheap.", [(0, 6), (7, 13)], None)))
    53
    """
    sentences = np.empty(len(columns), _SENTENCE)
    sentences["start"], sentences["end"] = columns.spans.T
    sentences["scale"], sentences["terms"] = columns.scales, columns.counts
    terms = columns.terms.astype("<u4").tobytes()
    body = sentences.tobytes() + columns.vectors.tobytes() + terms
    dimension = columns.vectors.shape[1]
    body = np.array([len(columns), dimension], "<u4").tobytes() + body
    return np.array([(VERSION, zlib.crc32(body))], _HEAD).tobytes() + body


@decoding
def unpack(packed: bytes, review: int) -> SentenceColumns:
    """Return the sentences that `pack` made bytes of.

    Args:
        packed: the bytes.
        review: the number that their review is given.

    Raises:
        DamagedStoreError: `pack` did not make these bytes, or that of a newer version did.

    >>> from qa_system.stores.sentences.columns import columns_of
    >>> packed = pack(columns_of(1, "Light. Cheap.", [(0, 6), (7, 13)], None))
    >>> unpack(packed, 5).reviews.tolist()
    [5, 5]
    >>> unpack(packed[:-1], 5)
    Traceback (most recent call last):
        ...
    qa_system...DamagedStoreError: the store is damaged: ... (the sentences of a review ...
    """
    version, checksum = np.frombuffer(packed, _HEAD, 1)[0].tolist()
    if version != VERSION:
        raise ValueError(f"the sentences of a review have version {version}, not {VERSION}")
    body = memoryview(packed)[_HEAD.itemsize :]
    if zlib.crc32(body) != checksum:
        raise ValueError("the sentences of a review are not as they were written")
    count, dimension = np.frombuffer(body, "<u4", 2).tolist()
    body = body[8:]
    sentences = np.frombuffer(body, _SENTENCE, count)
    vectors = np.frombuffer(body, np.int8, count * dimension, sentences.nbytes)
    return SentenceColumns(
        reviews=np.full(count, review, np.int64),
        spans=np.stack([sentences["start"], sentences["end"]], axis=1),
        vectors=vectors.reshape(count, dimension),
        scales=sentences["scale"],
        counts=sentences["terms"],
        terms=np.frombuffer(body, "<u4", -1, sentences.nbytes + vectors.nbytes),
    )
