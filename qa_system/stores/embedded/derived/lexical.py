"""How the embedded store's lexical index is searched: BM25 by tantivy.

Only a document's row number and the terms of its text are in it. Scores are Lucene's BM25
(k1 = 1.2, b = 0.75) over the whole store, whatever a filter leaves of it; a question's function
words ("how", "does", "the") count a tenth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import StoreError
from qa_system.stores.analysis import ANALYZER, analyze, analyzer, function_terms
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot
from qa_system.stores.function_words import FUNCTION_WORD_WEIGHT

if TYPE_CHECKING:
    from tantivy import Index, IndexWriter, Query, Searcher

__all__ = [
    "WRITER_BYTES",
    "DamagedIndexError",
    "Hit",
    "LexicalView",
    "advance",
    "make_index",
    "newer_than",
    "open_index",
    "reporting_damage",
]

Hit = tuple[int, float]

WRITER_BYTES: Final = 64_000_000
FEW_ROWS: Final = 50
SMALL_SET: Final = 500
"""A filter that selects at most so many rows is part of the query; a larger one is applied to
the hits of a deeper search, whose cost does not grow with the filter."""


class DamagedIndexError(StoreError):
    """tantivy cannot read or write an index."""


class reporting_damage:  # noqa: N801 - a context manager, used like a function
    """Raise what tantivy does about an index it cannot use as a `DamagedIndexError`.

    A damaged or missing file shows as ValueError, as OSError, or as a panic of Rust's, which
    pyo3 raises as a BaseException of a class that cannot be imported.

    Args:
        folder: of the index; None: it is in memory.

    >>> with reporting_damage(Path("lexical-0")):
    ...     raise ValueError("Data corrupted")
    Traceback (most recent call last):
        ...
    qa_system...DamagedIndexError: ... read or written: Data corrupted (lexical-0)
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException":
            raise DamagedIndexError(
                f"the lexical index cannot be read or written: {error}",
                where=None if self._folder is None else str(self._folder),
            ) from error


@dataclass(frozen=True, slots=True)
class LexicalView:
    """The index as it was at one generation.

    Args:
        store_id: of which store.
        generation: which.
        folder: of the index; None: it is in memory.
        searcher: tantivy's.
    """

    store_id: str
    generation: int
    folder: Path | None
    searcher: Searcher

    def search(
        self,
        text: str,
        top_k: int,
        allowed: Rows | None,
        are_live: Callable[[Rows], NDArray[np.bool_]] | None = None,
    ) -> list[Hit]:
        """Return (row, score) of the best rows that share a term with the text, best first.

        Args:
            text: the question, in anybody's words: it has no syntax.
            top_k: how many, at most.
            allowed: the rows that a filter selects, ascending; None: all.
            are_live: tells which of some rows are still documents; None: all are.

        Raises:
            DamagedIndexError: the index's files are not what tantivy wrote.
        """
        terms = self._term_queries(text)
        indexed = self.searcher.num_docs
        if not terms or indexed == 0 or (allowed is not None and not len(allowed)):
            return []
        if allowed is not None and len(allowed) <= SMALL_SET:
            return _ranked(self._run(self._within(terms, allowed), top_k))
        query, depth = _any_of(terms), top_k
        if allowed is not None:
            depth = int(1.5 * top_k * indexed / len(allowed)) + 10
        while True:
            depth = min(depth, indexed)
            hits = self._run(query, depth)
            rows = np.fromiter((row for row, _ in hits), np.int64, len(hits))
            if allowed is not None:
                hits = _kept(hits, np.isin(rows, allowed))
            elif are_live is not None:
                hits = _kept(hits, are_live(rows))
            if len(hits) >= top_k or len(rows) < depth or depth == indexed:
                return _ranked(hits)[:top_k]
            depth *= 4

    def _term_queries(self, text: str) -> list[Query]:
        from tantivy import Query

        queries = []
        for term, count in Counter(analyze(text)).items():
            weight = count * (FUNCTION_WORD_WEIGHT if term in function_terms() else 1.0)
            query = Query.term_query(_schema(), "body", term, "freq")
            queries.append(query if weight == 1.0 else Query.boost_query(query, weight))
        return queries

    def _within(self, terms: list[Query], allowed: Rows) -> Query:
        """Restrict the hits to some rows without a part in their score.

        For a few rows it pays to look each up under each term: tantivy's union of terms scores
        whole blocks of documents around every row that it is asked for.
        """
        from tantivy import Occur, Query

        rows = [Query.term_query(_schema(), "row", row) for row in allowed.tolist()]
        selected = Query.const_score_query(_any_of(rows), 0.0)
        parts = terms if len(rows) <= FEW_ROWS else [_any_of(terms)]
        return _any_of(
            [Query.boolean_query([(Occur.Must, selected), (Occur.Must, part)]) for part in parts]
        )

    def _run(self, query: Query, limit: int) -> list[Hit]:
        with reporting_damage(self.folder):
            hits = self.searcher.search(query, limit, count=False).hits
            rows = self.searcher.fast_field_values("row", [address for _, address in hits])
        return [(row, score) for row, (score, _) in zip(rows, hits, strict=True)]

    def rows(self) -> Rows:
        """Return every row in the index, ascending."""
        from tantivy import Query

        if self.searcher.num_docs == 0:
            return np.empty(0, np.int64)
        hits = self._run(Query.all_query(), self.searcher.num_docs)
        return np.sort(np.fromiter((row for row, _ in hits), np.int64, len(hits)))


def _any_of_rows(rows: Rows) -> Query:
    """Return the query that finds these rows."""
    from tantivy import Query

    return Query.term_set_query(_schema(), "row", rows.tolist())


def newer_than(row: int) -> Query:
    """Return the query that finds the rows above one."""
    from tantivy import FieldType, Query

    return Query.range_query(
        _schema(), "row", FieldType.Unsigned, lower_bound=row, include_lower=False
    )


def _any_of(queries: list[Query]) -> Query:
    from tantivy import Occur, Query

    return Query.boolean_query([(Occur.Should, query) for query in queries])


def _kept(hits: list[Hit], mask: NDArray[np.bool_]) -> list[Hit]:
    return [hit for hit, is_kept in zip(hits, mask.tolist(), strict=True) if is_kept]


def _ranked(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


@cache
def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder().add_unsigned_field("row", indexed=True, fast=True)
    return builder.add_text_field("body", tokenizer_name=ANALYZER, index_option="freq").build()


def make_index(folder: Path | None = None) -> Index:
    """Make an empty index in a folder, or in memory."""
    from tantivy import Index

    index = Index(_schema()) if folder is None else Index(_schema(), path=str(folder))
    return _prepared(index)


def open_index(folder: Path) -> Index:
    """Open the index in a folder; it is read as of `reload`."""
    from tantivy import Index

    return _prepared(Index.open(str(folder)))


def _prepared(index: Index) -> Index:
    index.register_tokenizer(ANALYZER, analyzer())
    index.config_reader("manual")
    return index


def advance(writer: IndexWriter, snapshot: Snapshot, generation: int, last_row: int) -> int:
    """Commit what was written since a generation; return tantivy's count of operations."""
    from tantivy import Document

    # Not delete_documents_by_term: it takes the number for a signed one, and finds none.
    dead = snapshot.tombstones(generation)
    if len(dead):
        writer.delete_documents_by_query(_any_of_rows(dead))
    for row, text in snapshot.iter_texts(last_row):
        document = Document()
        document.add_unsigned("row", row)
        document.add_text("body", text)
        writer.add_document(document)
    return int(writer.commit())
