"""How a Haystack document becomes a row of the ledger, and a row a document again.

Metadata is stored as JSON. Dates go in as ISO text, which filters compare as dates; their places
stand beside the text, so that they come out as Python dates. Embeddings are stored as 32-bit
floats where those are exactly the numbers given, else as 64-bit floats. A review in passages is
one row: the spans of its passages stand beside its text, their embeddings follow one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from itertools import pairwise
from typing import Any, Final, ParamSpec, TypeVar, cast

import numpy as np
import orjson
from haystack.dataclasses import ByteStream, Document, SparseEmbedding
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, StoreError
from qa_system.stores.writes import Passages

__all__ = [
    "COLUMNS",
    "DamagedStoreError",
    "DocumentTypeError",
    "Embeddings",
    "MetadataError",
    "Vector",
    "decode_document",
    "decode_meta",
    "decode_vector",
    "decode_vectors",
    "decoding",
    "encode_documents",
    "encode_passages",
    "encode_vectors",
    "stack_embeddings",
]

Vector = tuple[bytes, int]
"""A document's numbers, and how many embeddings they are: one, or one a passage."""
COLUMNS: Final = "id, meta, dates, content, blob, blob_info, sparse_embedding"
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
)
IDS: Final = ("item_id", "review_id")
"""Metadata by which reviews are asked for."""
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SERIALIZE_NUMPY


class DamagedStoreError(StoreError):
    """A store holds a value that no store has written."""


def decoding(decode: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a function that decodes what a store holds raise a `DamagedStoreError` if it cannot.

    >>> decoding(orjson.loads)("{")
    Traceback (most recent call last):
        ...
    qa_system...DamagedStoreError: the store is damaged: ... Restore it from a backup, ...
    """

    @wraps(decode)
    def wrapped(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return decode(*arguments, **options)
        except _UNREADABLE as error:
            raise DamagedStoreError(
                f"the store is damaged: it holds what no store has written ({error})",
                remedy="Restore it from a backup, or delete it and index the reviews again: "
                "qa-index run.",
            ) from error

    return wrapped


class DocumentTypeError(StoreError, ValueError):
    """What was to be written is not a list of Haystack documents."""


class MetadataError(StoreError, ValueError):
    """A document's metadata holds what JSON cannot."""


def encode_documents(documents: Sequence[Document]) -> list[tuple[Any, ...]]:
    """Return each document's values for `COLUMNS`.

    Raises:
        DocumentTypeError: something else than documents was given.
        MetadataError: naming the document and the key that JSON cannot hold.

    >>> encode_documents([Document(id="r1", content="Good.", meta={"stars": 5})])
    [('r1', '{"stars":5}', None, 'Good.', None, None, None)]
    """
    if not isinstance(documents, list | tuple):
        raise DocumentTypeError(f"documents are a list, not {type(documents).__name__}")
    return [_encode(document) for document in documents]


def _encode(document: Document) -> tuple[Any, ...]:
    if not isinstance(document, Document):
        raise DocumentTypeError(f"a Haystack Document was expected, not {type(document).__name__}")
    for text in (document.id, document.content):
        try:
            if text is not None:
                text.encode()
        except (UnicodeEncodeError, AttributeError) as error:
            raise DocumentTypeError(
                f"id or content is not text that UTF-8 can hold: {error}",
                where=f"document {document.id!r}",
            ) from error
    meta, dates = _encode_meta(document.meta, document.id)
    blob = info = sparse = None
    if document.blob is not None:
        blob = document.blob.data
        blob_meta, _ = _encode_meta(document.blob.meta, document.id)
        info = orjson.dumps([document.blob.mime_type, orjson.Fragment(blob_meta)]).decode()
    if document.sparse_embedding is not None:
        sparse = orjson.dumps(
            document.sparse_embedding.to_dict(), option=orjson.OPT_SERIALIZE_NUMPY
        ).decode()
    return document.id, meta, dates, document.content, blob, info, sparse


def _encode_meta(meta: dict[str, Any], document_id: str) -> tuple[str, str | None]:
    dated = False

    def default(value: Any) -> Any:
        nonlocal dated
        if isinstance(value, date):
            dated = True
            return value.isoformat()
        raise TypeError(type(value).__name__)

    try:
        text = orjson.dumps(meta, default=default, option=_OPTIONS)
    except TypeError as error:
        raise _metadata_error(meta, document_id, str(error)) from error
    # orjson writes NaN and infinity as null.
    if not isinstance(meta, dict) or (b"null" in text and not all(map(_is_json, _leaves(meta)))):
        raise _metadata_error(meta, document_id, "not JSON")
    for name in IDS:
        if not isinstance(meta.get(name, ""), str | None):
            raise MetadataError(
                f"metadata {name!r} is {meta[name]!r:.80}, and must be text",
                where=f"document {document_id!r}",
                remedy="Ids are compared as text: write them as str.",
            )
    dates = None
    if dated:
        places = [
            (path, "datetime" if isinstance(value, datetime) else "date")
            for path, value in _leaves(meta)
            if isinstance(value, date)
        ]
        dates = orjson.dumps(places).decode()
    return text.decode(), dates


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                yield (*path, key), key.__class__
            yield from _leaves(part, (*path, key))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _leaves(part, (*path, place))
    else:
        yield path, value


def _is_json(leaf: tuple[tuple[Any, ...], Any]) -> bool:
    value = leaf[1]
    if isinstance(value, date):
        return True
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    try:
        orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return False
    return True


def _metadata_error(meta: Any, document_id: str, reason: str) -> MetadataError:
    remedy = "Metadata may hold strings, numbers (64 bits, finite), bools, None, dates, and lists"
    remedy += " or dictionaries of those."
    for path, value in _leaves(meta):
        if not _is_json((path, value)):
            return MetadataError(
                f"metadata {'.'.join(map(str, path))!r} is {value!r:.80}, which JSON cannot hold",
                where=f"document {document_id!r}",
                remedy=remedy,
            )
    return MetadataError(
        f"the metadata cannot be JSON: {reason}", where=f"document {document_id!r}", remedy=remedy
    )


@decoding
def decode_document(
    values: Sequence[Any], *, score: float | None = None, embedding: list[float] | None = None
) -> Document:
    """Return the document that a row's `COLUMNS` are of.

    >>> decode_document(("r1", '{"stars":5}', None, "Good.", None, None, None)).meta
    {'stars': 5}
    """
    document_id, meta, dates, content, blob, info, sparse = values
    stream = None
    if blob is not None:
        mime_type, blob_meta = orjson.loads(info)
        stream = ByteStream(data=blob, meta=blob_meta, mime_type=mime_type)
    return Document(
        id=document_id,
        content=content,
        blob=stream,
        meta=decode_meta(meta, dates),
        score=score,
        embedding=embedding,
        sparse_embedding=None if sparse is None else SparseEmbedding(**orjson.loads(sparse)),
    )


@decoding
def decode_meta(text: str, dates: str | None) -> dict[str, Any]:
    """Return metadata as it was written, dates as Python dates.

    >>> decode_meta('{"on":"2024-02-29"}', '[[["on"],"date"]]')
    {'on': datetime.date(2024, 2, 29)}
    """
    meta: dict[str, Any] = orjson.loads(text)
    if not isinstance(meta, dict):
        raise TypeError(f"metadata is {type(meta).__name__}")
    if dates is not None:
        for path, kind in orjson.loads(dates):
            parent: Any = meta
            for step in path[:-1]:
                parent = parent[step]
            parse = datetime.fromisoformat if kind == "datetime" else date.fromisoformat
            parent[path[-1]] = parse(parent[path[-1]])
    return meta


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of a batch: `matrix[i]` is of the batch's document `places[i]`."""

    places: NDArray[np.int64]
    matrix: NDArray[np.float64]


def stack_embeddings(
    documents: Sequence[Document], dimension: int | None, *, required: bool
) -> Embeddings | None:
    """Check the embeddings of a batch and return them as one array, None if there are none.

    Args:
        documents: the batch.
        dimension: numbers that each must have; None takes the first embedding's.
        required: refuse a document without an embedding.

    Raises:
        EmbeddingError: naming the first document whose embedding is missing, has another
            dimension, or is not of finite numbers.

    >>> stack_embeddings([Document(id="r1", embedding=[0.5, 1.0])], 2, required=True).matrix
    array([[0.5, 1. ]])
    """
    places, rows = [], []
    for place, document in enumerate(documents):
        embedding = document.embedding
        if embedding is None:
            if required:
                raise EmbeddingError(
                    "the document has no embedding, and the store's encoder needs one",
                    where=f"document {document.id!r}",
                    remedy="Embed it with the store's encoder before it is written.",
                )
            continue
        if dimension is None:
            dimension = len(embedding)
        if len(embedding) != dimension or dimension == 0:
            raise EmbeddingError(
                f"the embedding has {counted(len(embedding), 'number')} instead of {dimension}",
                where=f"document {document.id!r}",
                remedy="All embeddings of a store come from one encoder.",
            )
        places.append(place)
        rows.append(embedding)
    if not rows:
        return None
    finite: NDArray[np.bool_]
    try:
        matrix = np.array(rows, dtype=np.float64)
        finite = _all_finite(matrix)
    except (TypeError, ValueError):
        finite = np.array([_is_numeric(row) for row in rows])
    if not bool(finite.all()):
        document = documents[places[int(np.argmin(finite))]]
        raise EmbeddingError(
            "the embedding holds NaN, infinity, or what is not a 32-bit number",
            where=f"document {document.id!r}",
            remedy="Check the encoder that it came from.",
        )
    return Embeddings(np.array(places, dtype=np.int64), matrix)


def _all_finite(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        narrow = matrix.astype(np.float32)
    return cast("NDArray[np.bool_]", np.isfinite(narrow).all(axis=1))


def _is_numeric(row: Any) -> bool:
    try:
        return bool(_all_finite(np.array([row], dtype=np.float64)).all())
    except (TypeError, ValueError):
        return False


def encode_vectors(matrix: NDArray[np.float64]) -> list[Vector]:
    """Return each row as 32-bit floats, or as 64-bit floats where those would lose something.

    >>> [len(numbers) for numbers, _ in encode_vectors(np.array([[0.5, 0.25], [0.5, 0.1]]))]
    [8, 16]
    """
    narrow = matrix.astype(np.float32)
    exact = (narrow == matrix).all(axis=1)
    return [
        ((narrow[place] if is_exact else matrix[place]).tobytes(), 1)
        for place, is_exact in enumerate(exact.tolist())
    ]


def encode_passages(
    document: Document, passages: Passages, dimension: int | None, *, required: bool
) -> tuple[str, Vector | None]:
    """Return the spans of a review's passages as JSON, and their vectors as one.

    Args:
        document: the review.
        passages: of it.
        dimension: numbers that each embedding must have; None takes what is given.
        required: refuse passages without embeddings.

    Raises:
        EmbeddingError: embeddings are missing, of another dimension or number, or not finite.
        DocumentTypeError: a span lies outside of the text, or the spans are not in order.

    >>> review = Document(id="r1", content="Light. Cheap.")
    >>> encode_passages(review, Passages([(0, 6), (7, 13)]), None, required=False)
    ('[[0,6],[7,13]]', None)
    """
    where = f"document {document.id!r}"
    spans, length = list(passages.spans), len(document.content or "")
    in_order = all(one < other for one, other in pairwise(start for start, _ in spans))
    if not spans or not in_order or not all(0 <= start < end <= length for start, end in spans):
        raise DocumentTypeError(
            f"the passages are not stretches of its {length} characters, in order: {spans}",
            where=where,
        )
    vector = None
    if passages.embeddings is not None:
        matrix = np.asarray(passages.embeddings, np.float32)
        width = matrix.shape[-1] if dimension is None else dimension
        if matrix.shape != (len(spans), width) or not np.isfinite(matrix).all():
            raise EmbeddingError(
                f"the embeddings of its {len(spans)} passages have the shape {matrix.shape} instead"
                f" of ({len(spans)}, {width}), or hold NaN or infinity",
                where=where,
                remedy="All embeddings of a store come from one encoder.",
            )
        vector = (matrix.tobytes(), len(spans))
    elif required:
        raise EmbeddingError(
            "its passages have no embeddings, and the store's encoder needs them",
            where=where,
            remedy="Embed them with the store's encoder before they are written.",
        )
    return orjson.dumps(spans).decode(), vector


@decoding
def decode_vector(vector: bytes, dimension: int) -> list[float]:
    """Return the numbers as they were written."""
    numbers: list[float] = np.frombuffer(vector, _width(vector, dimension)).tolist()
    return numbers


@decoding
def decode_vectors(vectors: Sequence[Vector], dimension: int) -> NDArray[np.float32]:
    """Return the vectors of several documents as one (n, dimension) array of 32-bit floats.

    >>> decode_vectors(encode_vectors(np.array([[0.5, 0.25]])), 2)
    array([[0.5 , 0.25]], dtype=float32)
    """
    narrow = b"".join(
        numbers
        if _width(numbers, dimension * count) is np.float32
        else np.frombuffer(numbers, np.float64).astype(np.float32).tobytes()
        for numbers, count in vectors
    )
    return np.frombuffer(narrow, np.float32).reshape(-1, dimension)


def _width(numbers: bytes, count: int) -> type[np.float32 | np.float64]:
    if len(numbers) == 4 * count:
        return np.float32
    if len(numbers) == 8 * count:
        return np.float64
    raise ValueError(f"{count} numbers have {len(numbers)} bytes")
