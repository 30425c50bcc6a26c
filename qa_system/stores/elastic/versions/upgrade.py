"""An index of an older format as one of this version, in place, while it is read.

Of format 1, a review is written under its own id before its passages' documents are deleted, and
joined only where it is not there yet. Then every document that has no `facts` is written with
them and with its `terms`, unless somebody else has changed it meanwhile. So the work can be broken
off at any moment and done again, by several processes at once, too. The format is set when all is
done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import numpy as np
from haystack.dataclasses import Document

from qa_system.errors import StoreError
from qa_system.stores.elastic.bulk import MOST_ROUNDS, Action, BulkWriter
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import (
    READ_WHOLE,
    READ_WITH_EMBEDDING,
    decode,
    encode,
    passages_of,
)
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.mapping import (
    FORMAT,
    TERMS,
    IndexState,
    embedding_fields,
    filter_fields,
    meta_of,
)
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.versions import aliases
from qa_system.stores.joining import is_passage, join, tell
from qa_system.stores.writes import Passages

__all__ = ["upgrade"]

log = logging.getLogger(__name__)

PASSAGES_AT_ONCE: Final = 1_000
MOST_FIELDS: Final = 2_000
"""An index of an older format has 1,000 fields at most."""
_SPLIT: Final[Query] = {
    "bool": {
        "filter": [{"exists": {"field": "review_id"}}, {"exists": {"field": "long.passage_start"}}]
    }
}
_WITHOUT_FACTS: Final[Query] = {"bool": {"must_not": [{"exists": {"field": "facts"}}]}}
_BY_REVIEW: Final[list[Any]] = [
    {"review_id": "asc"},
    {"long.passage_start": {"order": "asc", "unmapped_type": "long"}},
]


@dataclass(slots=True)
class _Split:
    """A review as version 0.1 kept it: a hit of the server, and a document, for each passage."""

    review_id: str
    hits: list[dict[str, Any]]
    documents: list[Document]

    def joined(self) -> tuple[Action, bool]:
        """Return what writes the review, and whether it is exact."""
        joined = join(self.documents)
        vectors = [each.embedding for each in self.documents if each.embedding is not None]
        is_embedded = len(vectors) == len(self.documents)
        passages = Passages(joined.spans, np.array(vectors, np.float32) if is_embedded else None)
        # It keeps its place among the others.
        written = min(hit["_source"]["written"] for hit in self.hits)
        source = encode(joined.document, written, None, embedding_required=False, passages=passages)
        return Action("create", self.review_id, source, written), joined.is_exact

    def deletions(self) -> Iterator[Action]:
        """Return what deletes its passages, unless somebody else has changed them meanwhile."""
        for hit in self.hits:
            yield Action("delete", hit["_id"], seen=_seen(hit))


@dataclass(slots=True)
class _Outcome:
    """What became of the documents.

    Args:
        joined: reviews that were kept as passages, made whole.
        guessed: those of them that are not exact.
        encoded: documents written anew for other reasons.
        refused: those that the server did not take, by id, and why; they are left as they were.
        is_settled: whether nobody else was at work on them.
    """

    joined: int = 0
    guessed: int = 0
    encoded: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    is_settled: bool = True


def upgrade(writer: BulkWriter, state: IndexState) -> None:
    """Bring an index of an older format to this version's format.

    Documents that are passages of a review become that review; their embeddings stay.

    Args:
        writer: to the index by its own name: an alias may stand for another one at any moment.
        state: of the index.

    Raises:
        StoreError: the server refuses; what was done is kept, and the next call goes on.
    """
    _add_mappings(writer, state)
    outcome = _Outcome()
    if state.format == 1:
        _in_rounds(writer, outcome, lambda: _join_all(writer, outcome))
        for review_id, reason in outcome.refused.items():
            log.warning("the review %r is left in passages: %s", review_id, reason)
        outcome.refused.clear()
    _in_rounds(writer, outcome, lambda: _add_facts(writer, outcome))
    _refresh(writer)
    _set_format(writer)
    if state.format == 1:
        tell(FORMAT, outcome.joined, outcome.guessed)
    log.info(
        "%s is of format %d now; %d documents were written anew",
        writer.where,
        FORMAT,
        outcome.encoded,
    )
    for document_id, reason in outcome.refused.items():
        log.warning("filters and words do not find the document %r: %s", document_id, reason)


def _add_mappings(writer: BulkWriter, state: IndexState) -> None:
    nested = embedding_fields(state.similarity, state.index_options, state.dimension)["passages"]
    with explained(writer.where):
        # The fields of metadata, one for each name and type, may have used up all that there were.
        writer.client.indices.put_settings(
            index=state.index, settings={"index.mapping.total_fields.limit": MOST_FIELDS}
        )
        writer.client.indices.put_mapping(
            index=state.index,
            properties={"passages": nested, "terms": TERMS, **filter_fields()},
        )


def _in_rounds(writer: BulkWriter, outcome: _Outcome, work: Callable[[], None]) -> None:
    """Do the work again until nobody else has changed anything meanwhile."""
    for _ in range(MOST_ROUNDS):
        outcome.is_settled = True
        _refresh(writer)
        work()
        if outcome.is_settled:
            return
    raise StoreError(
        "the index was made by an older version, and its documents are changed by somebody else "
        "all the time while they are brought to this version's format",
        where=writer.where,
        remedy="Stop whatever else writes to it, and write again.",
    )


def _join_all(writer: BulkWriter, outcome: _Outcome) -> None:
    for batch in _batches(writer):
        _join(writer, batch, outcome)


def _add_facts(writer: BulkWriter, outcome: _Outcome) -> None:
    """Write documents with what filters and words look for, where they lack it."""
    source = [*READ_WHOLE, "written"]
    hits = pages(writer.client, writer.index, _WITHOUT_FACTS, source, seq_no_primary_term=True)
    report = writer.write(_encoded(hits, outcome))
    outcome.encoded += report.written
    outcome.refused.update((each.id, each.reason) for each in report.rejected)
    if report.conflicts:
        outcome.is_settled = False


def _encoded(hits: Iterable[dict[str, Any]], outcome: _Outcome) -> Iterator[Action]:
    for hit in hits:
        document, written = decode(hit), hit["_source"]["written"]
        try:
            source = encode(
                document, written, None, embedding_required=False, passages=passages_of(hit)
            )
        except (StoreError, ValueError) as error:
            outcome.refused[document.id] = str(error)
        else:
            yield Action("index", document.id, source, written, _seen(hit))


def _set_format(writer: BulkWriter) -> None:
    # Read anew: an encoder may have been bound meanwhile.
    state = aliases.live(writer.client, writer.index, writer.where)
    if state is not None:
        meta = meta_of(state.similarity, state.encoder, promoted=state.promoted, notes=state.notes)
        with explained(writer.where):
            writer.client.indices.put_mapping(index=state.index, meta=meta)


def _batches(writer: BulkWriter) -> Iterator[list[_Split]]:
    """Stream the reviews that are kept as passages, each whole, some at a time."""
    hits = pages(
        writer.client,
        writer.index,
        _SPLIT,
        [*READ_WITH_EMBEDDING, "written"],
        sort=_BY_REVIEW,
        seq_no_primary_term=True,
    )
    batch: list[_Split] = []
    size = 0
    for review_id, own in groupby(hits, key=lambda hit: str(hit["sort"][0])):
        split = _split(review_id, own)
        if split is None:
            continue
        batch.append(split)
        size += len(split.hits)
        if size >= PASSAGES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _split(review_id: str, hits: Iterable[dict[str, Any]]) -> _Split | None:
    """Take the passages of a review out of its documents; None if there is none."""
    found: list[dict[str, Any]] = []
    longest: dict[int, Document] = {}
    for hit in hits:
        document = decode(hit)
        if not is_passage(document):
            continue
        found.append(hit)
        # A job that was killed between two settings left passages of both.
        known = longest.setdefault(document.meta["passage_start"], document)
        if len(document.content or "") > len(known.content or ""):
            longest[document.meta["passage_start"]] = document
    return _Split(review_id, found, list(longest.values())) if found else None


def _join(writer: BulkWriter, batch: Sequence[_Split], outcome: _Outcome) -> None:
    there = _look(writer, batch)
    done: list[_Split] = []
    to_write: dict[str, tuple[_Split, Action, bool]] = {}
    for split in batch:
        review = there.get(split.review_id)
        if review is not None:
            # It was joined before, or another program wrote a document of that name.
            if "passages" in review["_source"]:
                done.append(split)
        elif any(_seen(there.get(hit["_id"])) != _seen(hit) for hit in split.hits):
            outcome.is_settled = False
        else:
            try:
                to_write[split.review_id] = (split, *split.joined())
            except (StoreError, ValueError) as error:
                outcome.refused[split.review_id] = str(error)
    report = writer.write(action for _, action, _ in to_write.values())
    outcome.refused.update((each.id, each.reason) for each in report.rejected)
    for review_id, (split, _, is_exact) in to_write.items():
        if review_id not in outcome.refused and review_id not in report.conflicts:
            outcome.joined += 1
            outcome.guessed += not is_exact
            done.append(split)
    # Searches find the reviews before they find their passages no more, on whichever shard.
    _refresh(writer)
    deleted = writer.write(action for split in done for action in split.deletions())
    if report.conflicts or deleted.conflicts:
        outcome.is_settled = False


def _look(writer: BulkWriter, batch: Sequence[_Split]) -> dict[str, dict[str, Any]]:
    """Look what is there at this moment, whether searches find it or not."""
    asked: list[dict[str, Any]] = []
    for split in batch:
        asked.append({"_id": split.review_id, "_source": ["passages.start"]})
        asked += [{"_id": hit["_id"], "_source": False} for hit in split.hits]
    with explained(writer.where):
        answer = writer.client.mget(index=writer.index, docs=asked)
    return {each["_id"]: each for each in answer["docs"] if each.get("found")}


def _refresh(writer: BulkWriter) -> None:
    with explained(writer.where):
        writer.client.indices.refresh(index=writer.index)


def _seen(document: dict[str, Any] | None) -> tuple[int, int] | None:
    return None if document is None else (document["_seq_no"], document["_primary_term"])
