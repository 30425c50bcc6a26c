"""The ledger at one generation: what can be read of it, and how it is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.records import EncoderIdentity
from qa_system.stores.documents import (
    COLUMNS,
    Vector,
    decode_document,
    decode_vector,
    decoding,
)
from qa_system.stores.embedded.ledger.state import Place, State, Stored
from qa_system.stores.filters import Condition, json_extract
from qa_system.texts.passages import Spans

__all__ = [
    "COUNT_COLUMN",
    "ITEM",
    "REVIEW",
    "Match",
    "Rows",
    "Snapshot",
    "Transaction",
    "embeddings_table",
]

Rows = NDArray[np.int64]

ITEM: Final = str(json_extract(["item_id"]))
REVIEW: Final = str(json_extract(["review_id"]))
COUNT_COLUMN: Final = "count INTEGER NOT NULL DEFAULT 1"
"""Embeddings in a vector: one for each passage."""
_READ_CHUNK: Final = 2_000

Match = Callable[[int, str, Spans], int]
"""(row, its text, its passages) -> the number of the passage that matched."""


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

    def documents(
        self, hits: Sequence[tuple[int, float]], match: Match | None = None
    ) -> list[Document]:
        """Load the documents of (row, score) pairs, in their order, without embeddings.

        The metadata of a review in passages says which of them matched: `passage_start` and
        `passage_end`.

        Args:
            hits: what was found.
            match: tells the number of the passage that matched, for a row, its text and spans;
                None: that is not asked.
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
            if passages is not None and match is not None:
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
        what = f"row, vector, {self._count}, {self._passages}, {COLUMNS}"
        places = {row: Place(*place) for row, *place in self.places(rows).tolist()}
        return [
            Stored(
                tuple(values),
                passages,
                None if vector is None else (vector, count),
                places[row] if places[row].first_sentence >= 0 else None,
            )
            for row, vector, count, passages, *values in self.select(
                what, condition, "ORDER BY row"
            )
        ]

    def places(self, rows: Rows) -> NDArray[np.int64]:
        """Return where the sentences of documents are.

        Args:
            rows: of the documents, ascending.

        Returns:
            (n, 4): each row and its `Place`; -1, 0 and 0 where a document was not divided.
        """
        places = np.zeros((len(rows), 4), np.int64)
        places[:, 0], places[:, 1] = rows, -1
        if str(self.state.space) in self.state.sentences:
            sql = f"SELECT row, {', '.join(Place._fields)} FROM sentences_{self.state.space}"
            listed = orjson.dumps(rows.tolist()).decode()
            cursor = self.execute(f"{sql} WHERE row IN (SELECT value FROM json_each(?))", (listed,))
            found = np.fromiter(chain.from_iterable(cursor), np.int64).reshape(-1, 4)
            places[np.searchsorted(rows, found[:, 0])] = found
        return places

    def count_divided(self) -> int:
        """Count the documents whose sentences are stored."""
        if str(self.state.space) not in self.state.sentences:
            return 0
        sql = f"SELECT count(*) FROM sentences_{self.state.space}"
        return int(self.execute(sql).fetchone()[0])

    def last_row(self) -> int:
        """Return the highest row number that was ever assigned."""
        found = self.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
        return 0 if found is None else int(found[0])

    def count(self, condition: Condition | None = None) -> int:
        """Count the documents that a filter selects."""
        if condition is None:
            return int(self.execute("SELECT count(*) FROM documents").fetchone()[0])
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

    def unembedded(self, space: int, limit: int) -> list[tuple[int, str, list[str]]]:
        """Return (row, text, passages' texts) of the next documents that a new space lacks."""
        filled = f"SELECT ifnull(max(row), 0) FROM embeddings_{space}"
        cursor = self.execute(
            f"SELECT row, content, {self._passages} FROM documents"
            f" WHERE row > ({filled}) AND content IS NOT NULL ORDER BY row LIMIT ?",
            (limit,),
        )
        return [
            (row, text, [text] if spans is None else [text[a:b] for a, b in decode_spans(spans)])
            for row, text, spans in cursor
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

    deleted = 0
    """Documents that this write has deleted."""

    @property
    def generation(self) -> int:
        """The generation that this write begins."""
        return self.state.generation + 1

    @property
    def _spaces(self) -> list[int]:
        pending = self.state.pending_space
        return [self.state.space] if pending is None else [self.state.space, pending]

    @property
    def _tables(self) -> list[str]:
        """The tables that have a row for each document, or for some."""
        divided = [space for space in self._spaces if str(space) in self.state.sentences]
        return [
            "documents",
            *(f"embeddings_{space}" for space in self._spaces),
            *(f"sentences_{space}" for space in divided),
        ]

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
        placed = [(row, each.sentences) for row, each in numbered if each.sentences is not None]
        if placed:
            self.add_places(self.state.space, placed)

    def add_vectors(self, space: int, vectors: Iterable[tuple[int, Vector]]) -> None:
        """Insert (row, vector) pairs into a space."""
        self._connection.executemany(
            f"INSERT INTO embeddings_{space} (row, vector, count) VALUES (?, ?, ?)",
            ((row, numbers, count) for row, (numbers, count) in vectors),
        )

    def add_places(self, space: int, places: Iterable[tuple[int, Place]]) -> None:
        """Insert (row, place of its sentences) pairs into a space that has sentences."""
        self._connection.executemany(
            f"INSERT INTO sentences_{space} (row, {', '.join(Place._fields)}) VALUES (?, ?, ?, ?)",
            ((row, *place) for row, place in places),
        )

    def set_sentences(self, space: int, noted: dict[str, Any]) -> None:
        """Note what the files of a space's sentences are; its first makes room for their places."""
        columns = ", ".join(f"{name} INTEGER NOT NULL" for name in Place._fields)
        self.execute(
            f"CREATE TABLE IF NOT EXISTS sentences_{space}"
            f" (row INTEGER PRIMARY KEY, {columns}) STRICT"
        )
        self.set(sentences={**self.state.sentences, str(space): noted})

    def insert_many(self, sql: str, values: Iterable[Sequence[Any]]) -> int:
        """Run an INSERT for each of the values, and return the number of rows that it made."""
        return self._connection.executemany(sql, values).rowcount

    def delete(self, rows: Sequence[int] | Rows) -> None:
        """Delete the documents of existing rows."""
        self.deleted += len(rows)
        listed = orjson.dumps(np.asarray(rows, dtype=np.int64).tolist()).decode()
        self.execute(
            "INSERT INTO tombstones SELECT value, ? FROM json_each(?)", (self.generation, listed)
        )
        for table in self._tables:
            self.execute(
                f"DELETE FROM {table} WHERE row IN (SELECT value FROM json_each(?))", (listed,)
            )

    def clear(self) -> None:
        """Delete every document; the derived indexes are then built anew."""
        for space in self._spaces:
            self._drop_sentences(space)
        for table in self._tables:
            self.execute(f"DELETE FROM {table}")
        self.forget(self.generation)

    def forget(self, generation: int) -> None:
        """Drop the tombstones up to a generation, which no index needs any more."""
        self.execute("DELETE FROM tombstones WHERE generation <= ?", (generation,))
        # It never goes back: whoever asks may have read the ledger before a `clear`.
        self.set(history=max(generation, self.state.history))

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
        self._drop_sentences(space)

    def _drop_sentences(self, space: int) -> None:
        if str(space) in self.state.sentences:
            self.execute(f"DROP TABLE sentences_{space}")
            kept = {of: each for of, each in self.state.sentences.items() if of != str(space)}
            self.set(sentences=kept)


def embeddings_table(space: int) -> str:
    """Spell the statement that makes the table of a set of embeddings."""
    columns = f"row INTEGER PRIMARY KEY, vector BLOB NOT NULL, {COUNT_COLUMN}"
    return f"CREATE TABLE embeddings_{space} ({columns}) STRICT"
