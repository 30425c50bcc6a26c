"""What an index holds, and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from qa_system.console.wording import counted
from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.contract import Generation
from qa_system.stores.documents import DamagedStoreError
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import PACKED, sentences_of
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import IndexOptions
from qa_system.stores.elastic.reviews import count_items
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.versions import aliases

__all__ = ["ElasticsearchStatus", "read_generation", "read_status", "verify"]

DIVIDED: Final[Query] = {"exists": {"field": "sentences.count"}}
"""Selects the documents whose sentences are stored."""


@dataclass(frozen=True, slots=True)
class ElasticsearchStatus:
    """What a store holds.

    Args:
        path: the server and the name of the index.
        index: the version behind that name; None where there is none yet.
        versions: every version that is kept.
        documents: how many there are.
        items: distinct `meta.item_id`s.
        embedded: documents with an embedding.
        sentences: documents whose sentences are stored.
        labels: labelled questions beside them.
        digests: items with a digest, be it stale or not.
        embedding_dim: numbers in an embedding; None before the first.
        similarity: how embeddings are compared.
        index_options: how they are searched.
        shards: of the version.
        encoder: who made the embeddings; None where it is not known.
        bytes_on_disk: of the version, replicas not counted.
    """

    path: str
    index: str | None
    versions: tuple[str, ...]
    documents: int
    items: int
    embedded: int
    sentences: int
    labels: int
    digests: int
    embedding_dim: int | None
    similarity: Similarity
    index_options: IndexOptions
    shards: int
    encoder: EncoderIdentity | None
    bytes_on_disk: int


def read_status(at: ElasticIndex, labels: int, digests: int) -> ElasticsearchStatus:
    """Return what an index holds.

    Args:
        at: the index.
        labels: labelled questions beside it.
        digests: items with a digest.
    """
    state, size = at.state(fresh=True), 0
    if state is not None:
        with explained(at.where):
            stats = at.client.indices.stats(index=state.index, metric="store")
        size = stats["indices"][state.index]["primaries"]["store"]["size_in_bytes"]
    base = aliases.base_of(at.name)
    versions = aliases.versions(at.client, base, at.where)
    return ElasticsearchStatus(
        path=f"{at.connection.url}/{at.name}",
        index=None if state is None else state.index,
        versions=tuple(each.index for each in versions),
        documents=at.count(None),
        items=count_items(at),
        embedded=at.count({"term": {"parts": "embedding"}}),
        sentences=at.count(DIVIDED),
        labels=labels,
        digests=digests,
        embedding_dim=at.new.embedding_dim if state is None else state.dimension,
        similarity=at.new.similarity_for(None) if state is None else state.similarity,
        index_options=at.new.index_options if state is None else state.index_options,
        shards=at.new.shards if state is None else state.shards,
        encoder=None if state is None else state.encoder,
        bytes_on_disk=size,
    )


def read_generation(at: ElasticIndex) -> Generation:
    """Return the generation of what a search finds; see `ReviewStore.generation`.

    A copy of a shard finds a write when it is refreshed: the refreshes of all copies count, too.
    """
    with explained(at.where):
        stats = at.client.indices.stats(index=at.name, metric="refresh", level="shards")
    number, refreshes, versions = 0, 0, []
    for index in stats["indices"].values():
        versions.append(index["uuid"])
        for copy in (copy for copies in index["shards"].values() for copy in copies):
            refreshes += copy["refresh"]["external_total"]
            if copy["routing"]["primary"]:
                number += copy["seq_no"]["max_seq_no"] + 1
    return Generation(f"{'+'.join(sorted(versions))}:{refreshes}", number)


def verify(at: ElasticIndex) -> list[str]:
    """Return what is wrong with an index, a sentence each; see `ReviewStore.verify`."""
    state = at.state(fresh=True)
    if state is None:
        return []
    errors = []
    with explained(at.where):
        health = at.client.cluster.health(index=state.index)
    if health["status"] == "red":
        errors.append(f"some shards of {state.index!r} are not there: the server misses a node")
    else:
        at.count(None)  # an index that is closed or blocked is well, and cannot be read
    if state.encoder is not None:
        query: Query = {
            "bool": {
                "filter": [{"term": {"parts": "content"}}],
                "must_not": [{"term": {"parts": "embedding"}}],
            }
        }
        bare = at.count(query)
        if bare:
            errors.append(f"{counted(bare, 'document')} without an embedding")
        if state.dimension != state.encoder.dimension:
            errors.append(
                f"embeddings have {state.dimension} numbers, "
                f"the encoder's {state.encoder.dimension}"
            )
    hits = pages(at.client, at.name, DIVIDED, False, docvalue_fields=PACKED)
    damaged = sum(not _has_sentences(hit, state.dimension) for hit in hits)
    if damaged:
        errors.append(
            f"the sentences of {counted(damaged, 'document')} are not as they were written"
        )
    return errors


def _has_sentences(hit: Mapping[str, Any], dimension: int | None) -> bool:
    try:
        return sentences_of(hit, 0, dimension) is not None
    except DamagedStoreError:
        return False
