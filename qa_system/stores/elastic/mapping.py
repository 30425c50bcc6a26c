"""What an index is made with, and what it says of itself.

A document's metadata stands in `meta` as it was given, for reading; for filters, sorting and
everybody's dashboards each value stands a second time under its type: `keyword.brand`,
`long.helpful`, `double.price`, `boolean.verified`, `date.posted`. So a field's type is that of
each value as it comes, never that of whichever came first: `stars: 5` and `stars: "five"` may
follow each other, and 4.5 is not cut to 4 because the first was a whole number. The server counts
these fields (`index.mapping.total_fields.limit`, 1,000): documents that would bring more are
rejected by name. Everything else is strict.

A review that is found by its passages has no `embedding`; it has `passages`, each with its start,
end and embedding, which the server keeps in one block with the review: they come and go together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from qa_system.errors import StoreMismatchError
from qa_system.records import EncoderIdentity, Similarity

__all__ = [
    "FORMAT",
    "KEYWORDS",
    "TREES",
    "IndexOptions",
    "IndexState",
    "embedding_fields",
    "mappings",
    "meta_of",
    "read_state",
]

IndexOptions = Literal["flat", "hnsw", "int8_hnsw"]

FORMAT: Final = 2
"""1: a long review was several documents, one a passage. 2: it is one, with nested passages."""
KEYWORDS: Final = ("item_id", "review_id", "split")
"""Metadata with fields of its own: whatever filters by them, does so all the time."""
TREES: Final = {
    "keyword": "keyword",
    "long": "long",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "instant": "date",
}
"""The objects that hold metadata by type. `date` is a date as its clock showed it; those with a
time zone are in `instant`, too."""
_SIMILARITIES: Final[dict[Similarity, str]] = {
    "dot_product": "max_inner_product",  # `dot_product` takes unit vectors only, DPR's are none
    "cosine": "cosine",
    "l2": "l2_norm",
}
_OWNER: Final = "qa_system"
_EMBEDDINGS: Final = ("embedding", "passages.embedding")


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as it describes itself.

    Args:
        index: its own name, behind any alias.
        format: of its documents; a newer one is refused.
        similarity: how embeddings are compared.
        index_options: how they are searched.
        dimension: numbers in an embedding; None before the first.
        encoder: who made them; None where it is not known.
        shards: that it has.
        promoted: whether it was ever what the alias stands for.
        notes: what jobs have noted, as JSON values by name.
    """

    index: str
    format: int
    similarity: Similarity
    index_options: IndexOptions
    dimension: int | None
    encoder: EncoderIdentity | None
    shards: int
    promoted: bool
    notes: Mapping[str, Any]


def embedding_fields(
    similarity: Similarity, index_options: IndexOptions, dimension: int | None
) -> dict[str, Any]:
    """Return the mappings of whole reviews' embeddings and of passages, which are compared alike.

    Args:
        similarity: how embeddings are compared.
        index_options: how they are searched.
        dimension: numbers in an embedding; None: not known yet.
    """
    field: dict[str, Any] = {
        "type": "dense_vector",
        "index": True,
        "similarity": _SIMILARITIES[similarity],
        "index_options": {"type": index_options},
    }
    if dimension is not None:
        field["dims"] = dimension
    place = {"type": "integer", "index": False, "doc_values": False}
    passage = {"start": place, "end": place, "embedding": field}
    return {
        "embedding": field,
        "passages": {"type": "nested", "dynamic": "strict", "properties": passage},
    }


def meta_of(
    similarity: Similarity,
    encoder: EncoderIdentity | None,
    *,
    promoted: bool,
    notes: Mapping[str, Any] | None = None,
    format_: int = FORMAT,
) -> dict[str, Any]:
    """Return what the index remembers beside its documents."""
    known = None if encoder is None else asdict(encoder)
    own = {"format": format_, "similarity": similarity, "encoder": known, "promoted": promoted}
    return {_OWNER: {**own, "notes": dict(notes or {})}}


def mappings(
    similarity: Similarity,
    index_options: IndexOptions,
    dimension: int | None,
    encoder: EncoderIdentity | None,
    *,
    promoted: bool,
) -> dict[str, Any]:
    """Return the mappings of a new index."""
    stored = {"type": "keyword", "index": False, "doc_values": False}
    tree = {"type": "object", "subobjects": False, "dynamic": True}
    return {
        "dynamic": "strict",
        "_meta": meta_of(similarity, encoder, promoted=promoted),
        "dynamic_templates": [
            {name: {"path_match": f"{name}.*", "mapping": {"type": kind}}}
            for name, kind in TREES.items()
        ],
        "properties": {
            "content": {
                "type": "text",
                "analyzer": "english",
                # With the words that `english` drops: "the", "is", "not" and thirty others.
                "fields": {"words": {"type": "text", "analyzer": "standard"}},
            },
            **embedding_fields(similarity, index_options, dimension),
            **{name: {"type": "keyword"} for name in KEYWORDS},
            "meta": {"type": "object", "enabled": False},
            "meta_dates": stored,
            "blob": {"type": "binary"},
            "blob_info": stored,
            "sparse_embedding": stored,
            "written": {"type": "long"},  # orders documents as they were written
            "parts": {"type": "keyword"},  # which of content, embedding, ... a document has
            "fields": {"type": "keyword"},  # which metadata it has
            "exact": {"type": "keyword", "doc_values": False},  # lists, dictionaries, dates
            **dict.fromkeys(TREES, tree),
        },
    }


def read_state(index: str, described: Mapping[str, Any], where: str) -> IndexState:
    """Read what the server says of an index.

    Args:
        index: its name.
        described: its part of the answer to GET /index.
        where: for the error.

    Raises:
        StoreMismatchError: it was not made by this store, or by a newer one, or was changed.
    """
    mapping = described["mappings"]
    own = mapping.get("_meta", {}).get(_OWNER)
    if own is None:
        raise StoreMismatchError(
            f"the index {index!r} was not made by this store",
            where=where,
            remedy="Name another index; this one is left alone.",
        )
    if own["format"] > FORMAT:
        raise StoreMismatchError(
            f"the index {index!r} has format {own['format']}, and this version knows {FORMAT}",
            where=where,
            remedy="Use the version of qa-system that made it, or index the reviews anew.",
        )
    encoder = None if own["encoder"] is None else EncoderIdentity(**own["encoder"])
    wanted = mappings(own["similarity"], "flat", None, encoder, promoted=True)["properties"]
    if own["format"] == 1:
        del wanted["passages"]
    fields = dict(_fields(mapping["properties"]))
    for name, field in _fields(wanted):
        found = fields.get(name, {})
        # The server leaves out the type of an object that has fields.
        for key in ("type", "similarity", "analyzer"):
            if key in field and found.get(key, "object") != field[key]:
                raise StoreMismatchError(
                    f"the field {name!r} of index {index!r} has {key} {found.get(key)!r} instead "
                    f"of {field[key]!r}",
                    where=where,
                    remedy="Something else has made or changed it: index the reviews anew.",
                )
    embeddings = [fields[name] for name in _EMBEDDINGS if name in fields]
    return IndexState(
        index=index,
        format=own["format"],
        similarity=own["similarity"],
        index_options=embeddings[0]["index_options"]["type"],
        dimension=next((field["dims"] for field in embeddings if "dims" in field), None),
        encoder=encoder,
        shards=int(described["settings"]["index"]["number_of_shards"]),
        promoted=own["promoted"],
        notes=own.get("notes", {}),
    )


def _fields(properties: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name each field with what is said of it, and those of a passage."""
    yield from properties.items()
    for name, field in properties.get("passages", {}).get("properties", {}).items():
        yield f"passages.{name}", field
