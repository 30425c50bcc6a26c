"""The ledger at one generation: what can be read of it, and how it is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import orjson
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.documents import (
    COLUMNS,
    Vector,
    decode_document,
    decode_vector,
    decoding,
)
from qa_system.stores.filters import Condition, json_extract
from qa_system.texts.passages import Spans

__all__ = [
    "COUNT_COLUMN",
    "FORMAT",
    "ITEM",
    "REVIEW",
    "Match",
    "Rows",
    "Snapshot",
    "State",
    "Stored",
    "Transaction",
    "embeddings_table",
]

Rows = NDArray[np.int64]

FORMAT: Final = 2
"""1: a long review was several documents, one a passage. 2: it is one, with spans."""
ITEM: Final = str(json_extract(["item_id"]))
REVIEW: Final = str(json_extract(["review_id"]))
COUNT_COLUMN: Final = "count INTEGER NOT NULL DEFAULT 1"
"""Embeddings in a vector: one for each passage."""
_READ_CHUNK: Final = 2_000

Match = Callable[[int, str, Spans], int]
"""(row, its text, its passages) -> the number of the passage that matched."""


@dataclass(frozen=True, slots=True)
class State:
    """What a store knows of itself.

    Args:
        store_id: tells this store's derived files from another's.
        similarity: how embeddings are compared.
        format: of the ledger; a newer one is refused.
        generation: counts the writes.
        history: tombstones are complete since this generation.
        space: the embeddings that are searched; a re-embedding fills the next one.
        spaces: how many embedding spaces were ever begun.
        embedding_dim: numbers in an embedding; None before the first.
        encoder: who made the embeddings; None where it is not known.
        pending_space: the embeddings that a re-embedding is filling.
        pending_encoder: who makes those.
        notes: what jobs have noted, as JSON values by name.
    """

    store_id: str
    similarity: Similarity
    format: int = FORMAT
    generation: int = 0
    history: int = 0
    space: int = 0
    spaces: int = 1
    embedding_dim: int | None = None
    encoder: EncoderIdentity | None = None
    pending_space: int | None = None
    pending_encoder: EncoderIdentity | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @decoding
    def load(cls, values: dict[str, Any]) -> State:
        """Read the `store` table's rows."""
        for name in ("encoder", "pending_encoder"):
            if values.get(name) is not None:
                values[name] = EncoderIdentity(**orjson.loads(values[name]))
        if "notes" in values:
            values["notes"] = orjson.loads(values["notes"])
            if not isinstance(values["notes"], dict):
                raise TypeError("the notes have no names")
        state = cls(**values)
        numbers = (state.format, state.generation, state.history, state.space, state.spaces)
        if not all(type(number) is int for number in numbers):
            raise TypeError("a count is no number")
        if state.similarity not in get_args(Similarity):
            raise ValueError(f"there is no similarity {state.similarity!r}")
        return state


@decoding
def decode_spans(passages: str) -> Spans:
    """Return the spans of a review's passages; there is at least one."""
    spans = [(int(start), int(end)) for start, end in orjson.loads(passages)]
    if not spans:
        raise ValueError("a review has no passages")
    return spans


@decoding
def _repeated(chunk: Sequence[tuple[int, bytes, int]]) -> tuple[Rows, list[Vector]]:
    """Return the row of each embedding, and the vectors."""
    rows, vectors, counts = zip(*chunk, strict=True)
    if any(not 0 < count <= len(vector) for vector, count in zip(vectors, counts, strict=True)):
        raise ValueError("a vector has more embeddings than bytes, or none")
    return np.repeat(np.array(rows, np.int64), counts), [*zip(vectors, counts, strict=True)]


class Stored(NamedTuple):
    """A document as the ledger has it.

    Args:
        values: for `rows.COLUMNS`.
        passages: the spans of its passages as JSON; None: it is one.
        vector: its embeddings; None: it has none.
    """

    values: tuple[Any, ...]
    passages: str | None = None
    vector: Vector | None = None


class Snapshot:
    """The store as it was at one generation, whatever is written meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.state = State.load(dict(connection.execute("SELECT key, value FROM store")))

    @property
    def _passages(self) -> str:
        return "passages" if self.state.format >= 2 else "NULL"

    @property
    def _count(self) -> str:
        return "count" if self.state.format >= 2 else "1"

    @property
    def _source(self) -> str:
        # SQLite leaves the join out where neither the filter nor the result asks for the vector.
        return f"documents LEFT JOIN embeddings_{self.state.space} USING (row)"

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a query over the snapshot."""
        return self._connection.execute(sql, parameters)

    def select(self, what: str, condition: Condition | None, rest: str = "") -> sqlite3.Cursor:
        """Run a SELECT over the documents, with their embedding as `vector`."""
        where = "" if condition is None else f"WHERE {condition.sql}"
        parameters = () if condition is None else condition.parameters
        return self.execute(f"SELECT {what} FROM {self._source} {where} {rest}", parameters)

    def rows(self, condition: Condition | None = None) -> Rows:
        """Return the rows that a filter selects, ascending."""
        found = self.select("row", condition)
        rows = np.fromiter(chain.from_iterable(found), np.int64)
        rows.sort()
        return rows

    def ids(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the id of each of the rows that has a document."""
        sql = "SELECT row, id FROM documents WHERE row IN (SELECT value FROM json_each(?))"
        return dict(self.execute(sql, (orjson.dumps(list(rows)).decode(),)).fetchall())

    def documents(self, hits: Sequence[tuple[int, float]], match: Match) -> list[Document]:
        """Load the documents of (row, score) pairs, in their order, without embeddings.

        The metadata of a review in passages says which of them matched: `passage_start` and
        `passage_end`.

        Args:
            hits: what was found.
            match: tells the number of the passage that matched, for a row, its text and spans.
        """
        scores = dict(hits)
        listed = orjson.dumps(list(scores)).decode()
        cursor = self.execute(
            f"SELECT row, {self._passages}, {COLUMNS} FROM documents"
            " WHERE row IN (SELECT value FROM json_each(?))",
            (listed,),
        )
        loaded = {}
        for row, passages, *values in cursor.fetchall():
            loaded[row] = document = decode_document(values, score=scores[row])
            if passages is not None:
                spans = decode_spans(passages)
                number = match(row, document.content or "", spans)
                # A damaged vector file may name a passage that there is not.
                start, end = spans[min(number, len(spans) - 1)]
                document.meta.update(passage_start=start, passage_end=end)
        return [loaded[row] for row in scores if row in loaded]

    def iter_documents(self, condition: Condition | None) -> Iterator[Document]:
        """Stream the documents that a filter selects, with embeddings, in their rows' order.

        A review in passages has an embedding for each, and a document has room for one: it comes
        without.
        """
        dimension = self.state.embedding_dim
        what = f"vector, {self._passages}, {COLUMNS}"
        for vector, passages, *values in self.select(what, condition, "ORDER BY row"):
            embedding = None
            if vector is not None and dimension is not None and passages is None:
                embedding = decode_vector(vector, dimension)
            yield decode_document(values, embedding=embedding)

    def stored(self, rows: Rows) -> list[Stored]:
        """Return what the ledger has of each row, in the rows' order."""
        listed = orjson.dumps(rows.tolist()).decode()
        condition = Condition("row IN (SELECT value FROM json_each(?))", (listed,))
        what = f"vector, {self._count}, {self._passages}, {COLUMNS}"
        return [
            Stored(tuple(values), passages, None if vector is None else (vector, count))
            for vector, count, passages, *values in self.select(what, condition, "ORDER BY row")
        ]

    def last_row(self) -> int:
        """Return the highest row number that was ever assigned."""
        found = self.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
        return 0 if found is None else int(found[0])

    def count(self, condition: Condition | None = None) -> int:
        """Count the documents that a filter selects."""
        return int(self.select("count(*)", condition).fetchone()[0])

    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return each document's id and content hash, by review; see `ReviewStore`."""
        found: dict[str, dict[str, str]] = {}
        listed = orjson.dumps(list(review_ids)).decode()
        condition = Condition(f"{REVIEW} IN (SELECT value FROM json_each(?))", (listed,))
        content_hash = "ifnull(json_extract(meta, '$.content_hash'), '')"
        for review, document, hashed in self.select(f"{REVIEW}, id, {content_hash}", condition):
            found.setdefault(review, {})[document] = hashed
        return found

    def has(self, condition: Condition) -> bool:
        """Tell whether a filter selects a document."""
        return self.select("1", condition, "LIMIT 1").fetchone() is not None

    def count_items(self) -> int:
        """Count the distinct `meta.item_id`s."""
        return int(self.select(f"count(DISTINCT {ITEM})", None).fetchone()[0])

    def count_embedded(self) -> int:
        """Count the documents that have an embedding."""
        sql = f"SELECT count(*) FROM embeddings_{self.state.space}"
        return int(self.execute(sql).fetchone()[0])

    def iter_texts(self, after: int) -> Iterator[tuple[int, str]]:
        """Stream (row, content) of the rows above `after`, in their order."""
        sql = "SELECT row, content FROM documents WHERE row > ? AND content IS NOT NULL"
        yield from self.execute(f"{sql} ORDER BY row", (after,))

    def iter_vectors(self, space: int, after: int) -> Iterator[tuple[Rows, list[Vector]]]:
        """Stream the vectors of the rows above `after`, in their order, in chunks.

        Yields:
            The row of each embedding (one that has several is repeated), and the vectors.
        """
        columns = f"row, vector, {self._count}"
        sql = f"SELECT {columns} FROM embeddings_{space} WHERE row > ? ORDER BY row"
        cursor = self.execute(sql, (after,))
        while chunk := cursor.fetchmany(_READ_CHUNK):
            yield _repeated(chunk)

    def tombstones(self, since: int) -> Rows:
        """Return the rows that were deleted after a generation, ascending."""
        sql = "SELECT row FROM tombstones WHERE generation > ? ORDER BY row"
        return np.fromiter(chain.from_iterable(self.execute(sql, (since,))), np.int64)

    def count_tombstones(self, since: int) -> int:
        """Count the rows that were deleted after a generation."""
        sql = "SELECT count(*) FROM tombstones WHERE generation > ?"
        return int(self.execute(sql, (since,)).fetchone()[0])

    def unembedded(self, space: int, limit: int) -> list[tuple[int, list[str]]]:
        """Return (row, passages' texts) of the next documents that a space being filled lacks."""
        filled = f"SELECT ifnull(max(row), 0) FROM embeddings_{space}"
        cursor = self.execute(
            f"SELECT row, content, {self._passages} FROM documents"
            f" WHERE row > ({filled}) AND content IS NOT NULL ORDER BY row LIMIT ?",
            (limit,),
        )
        return [
            (row, [content] if spans is None else [content[a:b] for a, b in decode_spans(spans)])
            for row, content, spans in cursor
        ]

    def still_there(self, rows: Sequence[int]) -> Rows:
        """Return those of the rows that have a document, ascending."""
        return self.rows(
            Condition("row IN (SELECT value FROM json_each(?))", (orjson.dumps(rows).decode(),))
        )

    def existing(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the rows of those of the document ids that exist."""
        sql = "SELECT id, row FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self.execute(sql, (orjson.dumps(list(ids)).decode(),)).fetchall())


class Transaction(Snapshot):
    """A write that is wholly done when its block ends, and not at all if that raises."""

    @property
    def generation(self) -> int:
        """The generation that this write begins."""
        return self.state.generation + 1

    @property
    def _spaces(self) -> list[int]:
        pending = self.state.pending_space
        return [self.state.space] if pending is None else [self.state.space, pending]

    def set(self, **values: Any) -> None:
        """Change what the store knows of itself."""
        for name, value in values.items():
            stored = value
            if isinstance(value, EncoderIdentity | dict):
                stored = orjson.dumps(value).decode()
            self.execute("INSERT OR REPLACE INTO store VALUES (?, ?)", (name, stored))
        self.state = State.load(dict(self.execute("SELECT key, value FROM store")))

    def insert(self, documents: Iterable[Stored]) -> None:
        """Insert documents with their embeddings."""
        numbered = list(enumerate(documents, self.last_row() + 1))
        self._connection.executemany(
            f"INSERT INTO documents (row, passages, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((row, each.passages, *each.values) for row, each in numbered),
        )
        self.add_vectors(
            self.state.space,
            ((row, each.vector) for row, each in numbered if each.vector is not None),
        )

    def add_vectors(self, space: int, vectors: Iterable[tuple[int, Vector]]) -> None:
        """Insert (row, vector) pairs into a space."""
        self._connection.executemany(
            f"INSERT INTO embeddings_{space} (row, vector, count) VALUES (?, ?, ?)",
            ((row, numbers, count) for row, (numbers, count) in vectors),
        )

    def insert_many(self, sql: str, values: Iterable[Sequence[Any]]) -> int:
        """Run an INSERT for each of the values, and return the number of rows that it made."""
        return self._connection.executemany(sql, values).rowcount

    def delete(self, rows: Sequence[int] | Rows) -> None:
        """Delete the documents of existing rows."""
        listed = orjson.dumps(np.asarray(rows, dtype=np.int64).tolist()).decode()
        self.execute(
            "INSERT INTO tombstones SELECT value, ? FROM json_each(?)", (self.generation, listed)
        )
        for table in ("documents", *(f"embeddings_{space}" for space in self._spaces)):
            self.execute(
                f"DELETE FROM {table} WHERE row IN (SELECT value FROM json_each(?))", (listed,)
            )

    def clear(self) -> None:
        """Delete every document; the derived indexes are then built anew."""
        for table in ("documents", *(f"embeddings_{space}" for space in self._spaces)):
            self.execute(f"DELETE FROM {table}")
        self.forget(self.generation)

    def forget(self, generation: int) -> None:
        """Drop the tombstones up to a generation, which no index needs any more."""
        self.execute("DELETE FROM tombstones WHERE generation <= ?", (generation,))
        self.set(history=generation)

    def forget_encoder(self) -> None:
        """Begin anew with embeddings of any dimension; there are no documents."""
        for space in self._spaces:
            self.drop_space(space)
        self.set(
            space=self.begin_space(),
            embedding_dim=None,
            encoder=None,
            pending_space=None,
            pending_encoder=None,
        )

    def begin_space(self) -> int:
        """Make room for another set of embeddings."""
        space = self.state.spaces
        self.set(spaces=space + 1)
        self.execute(embeddings_table(space))
        return space

    def drop_space(self, space: int) -> None:
        """Delete a set of embeddings."""
        self.execute(f"DROP TABLE embeddings_{space}")


def embeddings_table(space: int) -> str:
    """Spell the statement that makes the table of a set of embeddings."""
    columns = f"row INTEGER PRIMARY KEY, vector BLOB NOT NULL, {COUNT_COLUMN}"
    return f"CREATE TABLE embeddings_{space} ({columns}) STRICT"
