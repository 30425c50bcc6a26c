"""What an index is made with, and what it says of itself.

A document's metadata stands in `meta` as it was given, for reading. For filters each value stands
a second time, as terms of the one field `facts`: the field's name, hashed, and the keys by which
values compare (`stores.filters.values`). So an index has the same few fields whatever metadata
comes: any number of names, values of several types in one field, texts of any length.

A text is analyzed here, as in the embedded store, and its terms stand in `terms`, which the server
only cuts at white space. Before format 3 the server analyzed `content` itself.

A review that is found by its passages has no `embedding`; it has `passages`, each with its start,
end and embedding, which the server keeps in one block with the review: they come and go together.

A review's sentences are one value, `sentences.packed` (`stores.sentences.packing`). It is read from
a column of its own, and left out of the document's source, which every search reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from qa_system.errors import StoreMismatchError
from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.analysis import ANALYZER

__all__ = [
    "FORMAT",
    "KEYWORDS",
    "LONGEST_KEYWORD",
    "TERMS",
    "IndexOptions",
    "IndexState",
    "embedding_fields",
    "filter_fields",
    "mappings",
    "meta_of",
    "read_state",
    "sentence_fields",
]

IndexOptions = Literal["flat", "hnsw", "int8_hnsw"]

FORMAT: Final = 3
"""1: a long review was several documents, one a passage. 2: it is one, with nested passages, and
metadata was in a field for each name and type. 3: metadata is in `facts`, a text's terms are in
`terms`."""
KEYWORDS: Final = ("item_id", "review_id", "split")
"""Metadata with fields of its own, too: what is counted and sorted by."""
LONGEST_KEYWORD: Final = 8_191
"""Characters; they have 32,764 bytes at most, and the server holds 32,766 in a term."""
TERMS: Final = {
    "type": "text",
    "analyzer": "whitespace",
    "index_options": "freqs",
    "meta": {"analysis": ANALYZER},
}
"""The mapping of a text's terms, with the name of the analysis that they come from."""
_SIMILARITIES: Final[dict[Similarity, str]] = {
    "dot_product": "max_inner_product",  # `dot_product` takes unit vectors only, DPR's are none
    "cosine": "cosine",
    "l2": "l2_norm",
}
_OWNER: Final = "qa_system"
_EMBEDDINGS: Final = ("embedding", "passages.embedding")
_OBJECTS: Final = ("passages", "sentences")


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
        has_sentences: whether it has the fields of sentences; it may be older than those.
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
    has_sentences: bool


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


def sentence_fields() -> dict[str, Any]:
    """Return the mapping of a review's sentences: how many there are, and all in one value."""
    fields = {
        "count": {"type": "integer", "index": False},
        "packed": {"type": "binary", "doc_values": True},
    }
    return {"sentences": {"dynamic": "strict", "properties": fields}}


def filter_fields() -> dict[str, Any]:
    """Return the mappings of what filters look at."""
    return {
        **{name: {"type": "keyword", "ignore_above": LONGEST_KEYWORD} for name in KEYWORDS},
        "facts": {"type": "keyword", "doc_values": False},
        # The names of metadata with the types of their values, to tell what there is.
        "types": {"type": "keyword", "ignore_above": LONGEST_KEYWORD},
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
    return {
        "dynamic": "strict",
        "_meta": meta_of(similarity, encoder, promoted=promoted),
        "_source": {"excludes": ["sentences.packed"]},
        "properties": {
            "content": {"type": "text", "index": False},
            "terms": TERMS,
            **embedding_fields(similarity, index_options, dimension),
            **filter_fields(),
            **sentence_fields(),
            "meta": {"type": "object", "enabled": False},
            "meta_dates": stored,
            "blob": {"type": "binary"},
            "blob_info": stored,
            "sparse_embedding": stored,
            "written": {"type": "long"},  # orders documents as they were written
            "parts": {"type": "keyword"},  # which of content, embedding, ... a document has
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
    if own["format"] < FORMAT:
        del wanted["facts"], wanted["types"], wanted["terms"]
        wanted["content"] = {"type": "text", "analyzer": "english"}
    if own["format"] == 1:
        del wanted["passages"]
    if "sentences" not in mapping["properties"]:
        del wanted["sentences"]
    fields = dict(_fields(mapping["properties"]))
    for name, field in _fields(wanted):
        found = fields.get(name, {})
        # The server leaves out the type of an object that has fields.
        for key in ("type", "similarity", "analyzer", "meta"):
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
        has_sentences="sentences" in wanted,
    )


def _fields(properties: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and mapping of each field, also of those in passages and sentences."""
    yield from properties.items()
    for outer in _OBJECTS:
        for name, field in properties.get(outer, {}).get("properties", {}).items():
            yield f"{outer}.{name}", field
