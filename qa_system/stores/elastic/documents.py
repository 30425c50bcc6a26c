"""How a Haystack document becomes a document of the index, and one of those a document again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import orjson
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, StoreError
from qa_system.stores.analysis import analyze
from qa_system.stores.documents import (
    decode_document,
    decoding,
    encode_documents,
    encode_passages,
)
from qa_system.stores.elastic.facts import add_facts
from qa_system.stores.sentences import SentenceColumns
from qa_system.stores.sentences.packing import pack, unpack
from qa_system.stores.writes import Passages
from qa_system.texts.passages import Spans

__all__ = [
    "PACKED",
    "READ",
    "READ_WHOLE",
    "READ_WITH_EMBEDDING",
    "decode",
    "encode",
    "encode_sentences",
    "passages_of",
    "sentences_of",
    "written_sentences",
]

READ: Final = [
    *("content", "meta", "meta_dates", "blob", "blob_info", "sparse_embedding"),
    *("passages.start", "passages.end"),
]
"""What a document is made of again, and where its passages are."""
READ_WITH_EMBEDDING: Final = [*READ, "embedding", "parts"]
READ_WHOLE: Final = [*READ_WITH_EMBEDDING, "passages.embedding", "sentences.count"]
"""Together with `PACKED`, everything that is needed to write a document again."""
PACKED: Final = ["sentences.packed"]
"""The column of its sentences, for `docvalue_fields`: it is not in the source."""
FLOAT32: Final = "float32"
"""Among a document's parts, says that its embedding is of 32-bit floats: those have decimals half
as long, which the server reads twice as fast."""
LONGEST_ID: Final = 512
LONGEST_EMBEDDING: Final = 4_096
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def encode(
    document: Document,
    written: int,
    dimension: int | None,
    *,
    embedding_required: bool,
    passages: Passages | None = None,
    sentences: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the JSON that the server keeps.

    Args:
        document: what to write.
        written: orders it among the others.
        dimension: numbers that its embeddings must have; None: the server decides.
        embedding_required: refuse a text without an embedding.
        passages: by which the document is found in place of an embedding of its own; None: none.
        sentences: from `encode_sentences` or `written_sentences`; None: none are kept.

    Raises:
        DocumentTypeError: it is no document, its text is not UTF-8, or a passage is no part of it.
        MetadataError: JSON cannot hold its metadata.
        EmbeddingError: its embedding is missing, not finite, or of another dimension.

    >>> source = encode(Document(id="r1", content="Good.", meta={"stars": 5}), 1, None,
    ...     embedding_required=False)
    >>> orjson.loads(source)["meta"], orjson.loads(source)["terms"]
    ({'stars': 5}, 'good')
    """
    [(_, meta, dates, content, blob, info, sparse)] = encode_documents([document])
    if not document.id or len(document.id.encode()) > LONGEST_ID:
        raise StoreError(
            f"the id has {counted(len(document.id.encode()), 'byte')}, and 1 to "
            f"{LONGEST_ID} can be",
            where=f"document {document.id[:40]!r}",
        )
    source: dict[str, Any] = {
        "meta": orjson.Fragment(meta),
        "meta_dates": dates,
        "content": content,
        "terms": None if content is None else " ".join(analyze(content)),
        "blob": None if blob is None else base64.b64encode(blob).decode(),
        "blob_info": info,
        "sparse_embedding": sparse,
        "written": written,
        "sentences": sentences,
    }
    embedding = _add_embeddings(source, document, passages, dimension, required=embedding_required)
    source = {key: value for key, value in source.items() if value is not None}
    source["parts"] = _parts(source, embedding)
    add_facts(source, document.id, meta, dates)
    return orjson.dumps(source, option=_OPTIONS)


def _add_embeddings(
    source: dict[str, Any],
    document: Document,
    passages: Passages | None,
    dimension: int | None,
    *,
    required: bool,
) -> NDArray[Any] | None:
    """Put a document's embedding or its passages into its source, and return the (first) one."""
    embedding: NDArray[Any] | None
    if passages is None:
        is_required = required and document.content is not None
        embedding = _checked_embedding(document, dimension, required=is_required)
        source["embedding"] = embedding
    else:
        nested = _nested(document, passages, dimension, required=required)
        embedding = nested[0].get("embedding")
        source["passages"] = nested
    if embedding is not None and not 1 <= len(embedding) <= LONGEST_EMBEDDING:
        raise EmbeddingError(
            f"the embedding has {counted(len(embedding), 'number')}, "
            f"and 1 to {LONGEST_EMBEDDING} can be",
            where=f"document {document.id!r}",
        )
    return embedding


def _parts(source: Mapping[str, Any], embedding: NDArray[Any] | None) -> list[str]:
    """Return which parts a document has."""
    has = {**source, "embedding": embedding}
    parts = [
        name
        for name in ("content", "embedding", "blob", "sparse_embedding")
        if has.get(name) is not None
    ]
    if embedding is not None and embedding.dtype == np.float32:
        parts.append(FLOAT32)
    return parts


def decode(
    hit: Mapping[str, Any],
    score: float | None = None,
    match: Callable[[str, Spans], int] | None = None,
) -> Document:
    """Make the document that a hit of the server is of.

    Args:
        hit: with the fields of `READ` at least.
        score: the document's.
        match: tells the number of the passage that matched, for a text and its passages; the
            metadata of a review in passages then has its `passage_start` and `passage_end`.
    """
    source = hit["_source"]
    blob = source.get("blob")
    embedding = source.get("embedding")
    if embedding is not None and FLOAT32 in source["parts"]:
        embedding = np.array(embedding, dtype=np.float32).tolist()
    document = decode_document(
        (
            hit["_id"],
            orjson.dumps(source["meta"]),
            source.get("meta_dates"),
            source.get("content"),
            None if blob is None else base64.b64decode(blob),
            source.get("blob_info"),
            source.get("sparse_embedding"),
        ),
        score=score,
        embedding=embedding,
    )
    if match is not None and "passages" in source:
        spans = _spans(source)
        start, end = spans[match(document.content or "", spans)]
        document.meta.update(passage_start=start, passage_end=end)
    return document


def passages_of(hit: Mapping[str, Any]) -> Passages | None:
    """Return the passages of a hit's review; None: it has none.

    Args:
        hit: with the fields of `READ` at least; of `READ_WHOLE`, and the embeddings come along.
    """
    source = hit["_source"]
    if "passages" not in source:
        return None
    vectors = [each["embedding"] for each in source["passages"] if "embedding" in each]
    return Passages(_spans(source), np.array(vectors, np.float32) if vectors else None)


def encode_sentences(columns: SentenceColumns) -> dict[str, Any]:
    """Return a review's sentences as the server keeps them."""
    return {"count": len(columns), "packed": base64.b64encode(pack(columns)).decode()}


def written_sentences(hit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a hit's sentences as the server keeps them, to be written again; None: it has none.

    Args:
        hit: with the fields of `READ_WHOLE` and of `PACKED`.
    """
    packed = hit.get("fields", {}).get(PACKED[0])
    count = hit["_source"].get("sentences", {}).get("count")
    return None if packed is None or count is None else {"count": count, "packed": packed[0]}


@decoding
def sentences_of(
    hit: Mapping[str, Any], review: int, dimension: int | None
) -> SentenceColumns | None:
    """Return the sentences of a hit's review; None: it has none.

    Args:
        hit: with the field of `PACKED`.
        review: the number that the review is given.
        dimension: numbers in the index's embeddings; None: it has none.

    Raises:
        DamagedStoreError: they are not as they were written.
    """
    packed = hit.get("fields", {}).get(PACKED[0])
    if packed is None:
        return None
    columns = unpack(base64.b64decode(packed[0]), review)
    width = columns.vectors.shape[1]
    if width not in (0, dimension):
        raise ValueError(f"embeddings of sentences have {width} numbers instead of {dimension}")
    return columns


def _spans(source: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [(each["start"], each["end"]) for each in source["passages"]]


def _nested(
    document: Document, passages: Passages, dimension: int | None, *, required: bool
) -> list[dict[str, Any]]:
    """Return passages as the server keeps them, with embeddings all or none."""
    spans, vector = encode_passages(document, passages, dimension, required=required)
    nested = [{"start": start, "end": end} for start, end in orjson.loads(spans)]
    if vector is not None:
        numbers, count = vector
        matrix = np.frombuffer(numbers, np.float32).reshape(count, -1)
        for place, row in zip(nested, matrix, strict=True):
            place["embedding"] = row
    return nested


def _checked_embedding(
    document: Document, dimension: int | None, *, required: bool
) -> NDArray[Any] | None:
    """Return the numbers, as 32-bit floats where those are exactly the numbers given."""
    embedding = document.embedding
    where = f"document {document.id!r}"
    if embedding is None:
        if required:
            raise EmbeddingError("the embedding is missing", where=where)
        return None
    try:
        numbers = np.asarray(embedding, dtype=np.float64)
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32)
        is_sound = numbers.ndim == 1 and bool(np.isfinite(narrow).all())
    except (TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise EmbeddingError(
            "the embedding holds NaN, infinity, or what is not a 32-bit number", where=where
        )
    if dimension is not None and len(numbers) != dimension:
        raise EmbeddingError(
            f"the embedding has {counted(len(numbers), 'number')} instead of {dimension}",
            where=where,
        )
    return narrow if bool((narrow == numbers).all()) else numbers
