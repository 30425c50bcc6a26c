"""How a Haystack document becomes a document of the index, and one of those a document again."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import dateutil.parser
import numpy as np
import orjson
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, StoreError
from qa_system.passages import Spans
from qa_system.stores.documents import (
    MetadataError,
    decode_document,
    encode_documents,
    encode_passages,
)
from qa_system.stores.elastic.mapping import KEYWORDS
from qa_system.stores.writes import Passages

__all__ = [
    "READ",
    "READ_WHOLE",
    "READ_WITH_EMBEDDING",
    "SMALLEST_LONG",
    "content_token",
    "date_tokens",
    "decode",
    "encode",
    "field_name",
    "iso_date",
    "passages_of",
    "server_date",
    "token",
]

READ: Final = [
    *("content", "meta", "meta_dates", "blob", "blob_info", "sparse_embedding"),
    *("passages.start", "passages.end"),
]
"""What a document is made of again, and where its passages are."""
READ_WITH_EMBEDDING: Final = [*READ, "embedding", "parts"]
READ_WHOLE: Final = [*READ_WITH_EMBEDDING, "passages.embedding"]
"""Everything that a document has to be written again with."""
FLOAT32: Final = "float32"
"""Among a document's parts, says that its embedding is of 32-bit floats: those have decimals half
as long, which the server reads twice as fast."""
LONGEST_ID: Final = 512
LONGEST_EMBEDDING: Final = 4_096
SMALLEST_LONG: Final = -(2**63)
_LOOKS_LIKE_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ]|$)", re.ASCII)
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def encode(
    document: Document,
    written: int,
    dimension: int | None,
    *,
    embedding_required: bool,
    passages: Passages | None = None,
) -> bytes:
    """Return the JSON that the server keeps.

    Args:
        document: what to write.
        written: orders it among the others.
        dimension: numbers that its embeddings must have; None: the server decides.
        embedding_required: refuse a text without an embedding.
        passages: by which the document is found in place of an embedding of its own; None: none.

    Raises:
        DocumentTypeError: it is no document, its text is not UTF-8, or a passage is no part of it.
        MetadataError: JSON cannot hold its metadata, or an id in it is not text.
        EmbeddingError: its embedding is missing, not finite, or of another dimension.

    >>> source = encode(Document(id="r1", content="Good.", meta={"stars": 5}), 1, None,
    ...     embedding_required=False)
    >>> orjson.loads(source)["long"]
    {'stars': 5}
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
        "blob": None if blob is None else base64.b64encode(blob).decode(),
        "blob_info": info,
        "sparse_embedding": sparse,
        "written": written,
    }
    embedding = _add_embeddings(source, document, passages, dimension, required=embedding_required)
    source = {key: value for key, value in source.items() if value is not None}
    source["parts"] = _parts(source, embedding)
    _add_fields(source, orjson.loads(meta), document.id)
    if content is not None:
        source["exact"].append(content_token(content))
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


def field_name(keys: tuple[str, ...]) -> str | None:
    """Return a metadata field's name in the index, None where it cannot have one.

    A key with a dot in it is out of a Haystack filter's reach, and a blank one out of the
    server's.

    >>> field_name(("a", "b")), field_name(("a.b",))
    ('a.b', None)
    """
    if not keys or any("." in key or not key.strip() for key in keys):
        return None
    return ".".join(keys)


def token(name: str, value: Any) -> str:
    """Return a short text that is the same for equal values of a field, as Python compares them.

    >>> token("tags", [1, True]) == token("tags", [1.0, 1])
    True
    """
    text = json.dumps([name, _canonical(value)], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def content_token(content: str) -> str:
    """Return what finds a document by the whole of its text."""
    return token(":content", content)


def date_tokens(name: str, when: datetime) -> list[str]:
    """Return what finds a date exactly: by its clock, and by its instant if it has a zone.

    Dates of which one has no zone are compared by their clocks, as Haystack does.
    """
    clock = when.replace(tzinfo=None)
    tokens = [token(name, ["clock", clock.isoformat()])]
    if when.tzinfo is None:
        return [*tokens, token(name, ["naive", clock.isoformat()])]
    instant = _in_utc(when)
    if instant is not None:
        tokens.append(token(name, ["instant", instant.isoformat()]))
    return tokens


def iso_date(value: Any) -> datetime | None:
    """Read a text as the date that Haystack's `==` takes it for, None if it is no date.

    >>> iso_date("2024-02-29"), iso_date("2024")
    (datetime.datetime(2024, 2, 29, 0, 0), None)
    """
    if not isinstance(value, str) or not _LOOKS_LIKE_DATE.match(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        try:
            read: datetime = dateutil.parser.isoparse(value)
        except (ValueError, OverflowError):
            return None
        return read


def server_date(when: datetime, *, in_utc: bool) -> str | None:
    """Spell a date for the server, which knows milliseconds; None where UTC has no such year."""
    moment = _in_utc(when) if in_utc else when
    if moment is None:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _in_utc(when: datetime) -> datetime | None:
    try:
        return when.astimezone(UTC)
    except OverflowError:
        return None


def _canonical(value: Any) -> Any:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else value
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    return value


def _add_fields(source: dict[str, Any], meta: dict[str, Any], document_id: str) -> None:
    """Put each value under its type, where filters find it."""
    trees: dict[str, dict[str, Any]] = {}
    fields: list[str] = []
    exact: list[str] = []
    for keys, value in _walk(meta, ()):
        name = field_name(keys)
        if name is None:
            continue
        fields.append(name)
        if name in KEYWORDS:
            if not isinstance(value, str):
                raise MetadataError(
                    f"metadata {name!r} is {value!r:.80}, and must be text",
                    where=f"document {document_id!r}",
                )
            source[name] = value
        elif isinstance(value, str):
            trees.setdefault("keyword", {})[name] = value
            when = iso_date(value)
            if when is not None:
                exact += date_tokens(name, when)
                trees.setdefault("date", {})[name] = server_date(when, in_utc=False)
                instant = None if when.tzinfo is None else server_date(when, in_utc=True)
                if instant is not None:
                    trees.setdefault("instant", {})[name] = instant
        elif isinstance(value, bool):
            trees.setdefault("boolean", {})[name] = value
        elif isinstance(value, int) and SMALLEST_LONG <= value < -SMALLEST_LONG:
            trees.setdefault("long", {})[name] = value
        elif isinstance(value, int | float):
            trees.setdefault("double", {})[name] = value
            if abs(value) >= -SMALLEST_LONG:
                exact.append(token(name, value))
        else:
            exact.append(token(name, value))
    source.update(trees, fields=fields, exact=exact)


def _walk(value: dict[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, part in value.items():
        if part is not None:
            yield (*keys, key), part
        if isinstance(part, dict):
            yield from _walk(part, (*keys, key))


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
