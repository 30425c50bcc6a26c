"""The lexical index of the embedded store: BM25 by tantivy, derived from the ledger.

Only a document's row number and the terms of its text are in it. Scores are Lucene's BM25
(k1 = 1.2, b = 0.75) over the whole store, whatever a filter leaves of it; a question's function
words ("how", "does", "the") count a tenth.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import sleep
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.embedded.derived.stamps import read_stamp, write_stamp
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot, State

if TYPE_CHECKING:
    from tantivy import Index, IndexWriter, Query, Searcher, TextAnalyzer

__all__ = ["LexicalIndex", "LexicalView", "analyze", "function_terms"]

log = logging.getLogger(__name__)

Hit = tuple[int, float]

ANALYZER: Final = "english-1"
"""Names the analysis in the stamp: an index made by another is built anew."""
FUNCTION_WORDS: Final = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
her hers herself it its itself they them their theirs themselves what which who whom this that
these those am is are was were be been being have has had having do does did doing would should
could ought a an the and but if or because as until while of at by for with about against
between into through during before after above below to from up down in out on off over under
again further then once here there when where why how all any both each few more most other some
such no nor not only own same so than too very can will just don now s t d ll m re ve isn aren
wasn weren hasn haven hadn doesn didn won wouldn shan shouldn couldn mustn
"""
"""Snowball's English stop words, and what contractions leave of themselves."""
FUNCTION_WORD_WEIGHT: Final = 0.1
"""Half of a question is function words. Lucene's `english` drops them; a tenth of their score
still decides between reviews that have nothing else in common with the question. Chosen on the
train and dev questions of four SubjQA domains, over the reviews of an item."""
LONGEST_TERM: Final = 255
WRITER_BYTES: Final = 64_000_000
FEW_ROWS: Final = 50
SMALL_SET: Final = 500
"""A filter that selects at most so many rows is part of the query; a larger one is applied to
the hits of a deeper search, whose cost does not grow with the filter."""
_TRIES: Final = 10
_PAUSE: Final = 0.002


@cache
def _analyzer() -> TextAnalyzer:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(LONGEST_TERM))
        .filter(Filter.lowercase())
        .filter(Filter.stemmer("english"))
        .build()
    )


def analyze(text: str) -> list[str]:
    """Give the terms that a text is indexed and asked by.

    >>> analyze("The batteries' runtime isn't great!")
    ['the', 'batteri', 'runtim', 'isn', 't', 'great']
    """
    terms: list[str] = _analyzer().analyze(text)
    return terms


@cache
def function_terms() -> frozenset[str]:
    """Return the terms of function words."""
    return frozenset(analyze(FUNCTION_WORDS))


@dataclass(frozen=True, slots=True)
class LexicalView:
    """The index as it was at one generation."""

    store_id: str
    generation: int
    searcher: Searcher
    schema: Any

    def search(
        self,
        text: str,
        top_k: int,
        allowed: Rows | None,
        are_live: Callable[[Rows], NDArray[np.bool_]] | None = None,
    ) -> list[Hit]:
        """Give (row, score) of the best rows that share a term with the text, best first.

        Args:
            text: the question, in anybody's words: it has no syntax.
            top_k: how many, at most.
            allowed: the rows that a filter selects, ascending; None: all.
            are_live: tells which of some rows are still documents; None: all are.
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
            query = Query.term_query(self.schema, "body", term, "freq")
            queries.append(query if weight == 1.0 else Query.boost_query(query, weight))
        return queries

    def _within(self, terms: list[Query], allowed: Rows) -> Query:
        """Restrict the hits to some rows without a part in their score.

        For a few rows it pays to look each up under each term: tantivy's union of terms scores
        whole blocks of documents around every row that it is asked for.
        """
        from tantivy import Occur, Query

        rows = [Query.term_query(self.schema, "row", row) for row in allowed.tolist()]
        selected = Query.const_score_query(_any_of(rows), 0.0)
        parts = terms if len(rows) <= FEW_ROWS else [_any_of(terms)]
        return _any_of(
            [Query.boolean_query([(Occur.Must, selected), (Occur.Must, part)]) for part in parts]
        )

    def _run(self, query: Query, limit: int) -> list[Hit]:
        hits = self.searcher.search(query, limit, count=False).hits
        rows = self.searcher.fast_field_values("row", [address for _, address in hits])
        return [(row, score) for row, (score, _) in zip(rows, hits, strict=True)]

    def rows(self) -> Rows:
        """Give every row in the index, ascending."""
        from tantivy import Query

        if self.searcher.num_docs == 0:
            return np.empty(0, np.int64)
        hits = self._run(Query.all_query(), self.searcher.num_docs)
        return np.sort(np.fromiter((row for row, _ in hits), np.int64, len(hits)))


def _any_of(queries: list[Query]) -> Query:
    from tantivy import Occur, Query

    return Query.boolean_query([(Occur.Should, query) for query in queries])


def _kept(hits: list[Hit], mask: NDArray[np.bool_]) -> list[Hit]:
    return [hit for hit, is_kept in zip(hits, mask.tolist(), strict=True) if is_kept]


def _ranked(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


class LexicalIndex:
    """The files of the index: opened by readers, brought up to date by the writer.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "lexical"
        self._stamp_path = folder / "lexical.json"
        self._refreshing = Lock()
        self._index: Index | None = None
        self._writer: IndexWriter | None = None
        self._view: LexicalView | None = None
        self._substitute: LexicalView | None = None
        self._told: str | None = None
        self._links: TemporaryDirectory[str] | None = None
        self._is_trusted = False

    def view(self, state: State) -> LexicalView | None:
        """Give the index at the state's generation, or as far as its files have got.

        None where there is none, or none that can be read.
        """
        view = self._view
        if view is not None and (view.store_id, view.generation) == (
            state.store_id,
            state.generation,
        ):
            return view
        with self._refreshing:
            return self._refresh(state.store_id)

    def substitute(self, state: State) -> LexicalView | None:
        """Give the index in memory, if one was made for this generation."""
        view = self._substitute
        if view is None or (view.store_id, view.generation) != (state.store_id, state.generation):
            return None
        return view

    def make_substitute(self, snapshot: Snapshot) -> LexicalView:
        """Index the snapshot's texts in memory, for a process that can neither read nor mend."""
        from tantivy import Index

        state = snapshot.state
        with self._refreshing:
            view = self.substitute(state)
            if view is None:
                log.warning("the lexical index in %s is built anew in memory", self._folder)
                index = Index(_schema())
                index.register_tokenizer(ANALYZER, _analyzer())
                writer = index.writer(WRITER_BYTES, 1)
                _add(writer, snapshot.iter_texts(0))
                writer.commit()
                writer.wait_merging_threads()
                index.reload()
                searcher = index.searcher()
                view = LexicalView(state.store_id, state.generation, searcher, index.schema)
                self._substitute = view
            return view

    def catch_up(self, snapshot: Snapshot) -> None:
        """Bring the index to the snapshot's generation; the caller holds the writer's lock.

        What a writer has left that did not close the index is counted once. A kill among
        tantivy's commits and merges was seen to leave documents that are deleted in the ledger.
        """
        stamp = self._read_stamp(snapshot.state.store_id)
        was_closed = (
            stamp is not None and stamp.get("closed") and stamp["opstamp"] == self._opstamp()
        )
        self._follow(snapshot)
        if not (self._is_trusted or was_closed) and self._is_off(snapshot):
            log.warning("the lexical index in %s is not what its stamp says", self._folder)
            self._stamp_path.unlink(missing_ok=True)
            self._follow(snapshot)
        self._is_trusted = True

    def _is_off(self, snapshot: Snapshot) -> bool:
        """Tell whether the index holds more or fewer documents than the ledger has texts."""
        view = self.view(snapshot.state)
        [(texts,)] = snapshot.execute("SELECT count(*) FROM documents WHERE content IS NOT NULL")
        return view is None or view.searcher.num_docs != texts

    def _follow(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        stamp = self._read_stamp(state.store_id)
        if stamp is not None and stamp["generation"] == state.generation and self.view(state):
            return
        try:
            if (
                stamp is None
                or not state.history <= stamp["generation"] <= state.generation
                or self._reloaded() is None
            ):
                was_cleared = stamp is not None and stamp["generation"] < state.history
                stamp = self._begin_anew(quietly=was_cleared)
            writer = self._open_writer()
            if self._opstamp() != stamp["opstamp"]:
                # A crash came between a commit and its stamp: what it added is added again.
                writer.delete_documents_by_query(self._newer_than(stamp["last_row"]))
            # Not delete_documents_by_term: it takes the number for a signed one, and finds none.
            dead = snapshot.tombstones(stamp["generation"]).tolist()
            if dead:
                writer.delete_documents_by_query(self._any_of(dead))
            _add(writer, snapshot.iter_texts(stamp["last_row"]))
            opstamp = writer.commit()
            self._share()
        except BaseException:
            # What was added without a commit must not be there when it is added again.
            self._writer = None
            raise
        write_stamp(
            self._stamp_path,
            {
                "store_id": state.store_id,
                "analyzer": ANALYZER,
                "generation": state.generation,
                "last_row": snapshot.last_row(),
                "opstamp": opstamp,
            },
        )
        self.view(state)

    def generation(self) -> int:
        """Give the generation that the files say they are of, -1 if they say nothing."""
        stamp = read_stamp(self._stamp_path)
        return -1 if stamp is None else int(stamp["generation"])

    def close(self) -> None:
        """Let the writer finish its merges, and let the files go."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.wait_merging_threads()
            self._share()
            stamp = read_stamp(self._stamp_path)
            if stamp is not None:
                write_stamp(self._stamp_path, {**stamp, "closed": True})
        self.drop()

    def release(self) -> None:
        """Give tantivy's own writer lock back."""
        self._writer = None

    def drop(self) -> None:
        """Let the files go as they are."""
        self._writer = self._index = self._links = None
        self._view = self._substitute = None

    def _refresh(self, store_id: str) -> LexicalView | None:
        """Open the index as it is on the disk.

        A commit comes an instant before its stamp. So that a view is of exactly the generation
        that it names, tantivy's own count of operations is compared before and after.
        """
        for _ in range(_TRIES):
            stamp = self._read_stamp(store_id)
            if stamp is None:
                break
            opstamp = self._opstamp()
            index = self._reloaded()
            if index is None:
                break
            searcher = index.searcher()
            if opstamp == stamp["opstamp"] == self._opstamp():
                view = LexicalView(store_id, stamp["generation"], searcher, index.schema)
                self._view = view
                return view
            sleep(_PAUSE)
        self._index = self._view = None
        return None

    def _read_stamp(self, store_id: str) -> dict[str, Any] | None:
        stamp = read_stamp(self._stamp_path)
        if stamp is None or (stamp.get("store_id"), stamp.get("analyzer")) != (store_id, ANALYZER):
            return None
        return stamp

    def _opstamp(self) -> int | None:
        meta = read_stamp(self._folder / "meta.json")
        return None if meta is None else meta.get("opstamp")

    def _reloaded(self) -> Index | None:
        """Open the index as it is on the disk; a fault is told once, and gives None."""
        try:
            index = self._open()
            index.reload()
            index.searcher()
        except (ValueError, OSError) as fault:
            if str(fault) != self._told:
                log.warning("the lexical index in %s cannot be opened: %s", self._folder, fault)
                self._told = str(fault)
            self._index = None
            return None
        self._told = None
        return index

    def _begin_anew(self, *, quietly: bool) -> dict[str, Any]:
        if self._folder.exists() and not quietly:
            log.warning("the lexical index in %s is built anew from the ledger", self._folder)
        self._writer = self._index = self._view = None
        self._stamp_path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        from tantivy import Index

        Index(_schema(), path=str(self._folder))
        return {"generation": sys.maxsize, "last_row": 0, "opstamp": self._opstamp()}

    def _open(self) -> Index:
        if self._index is None:
            from tantivy import Index

            index = Index.open(str(self._openable()))
            index.register_tokenizer(ANALYZER, _analyzer())
            index.config_reader("manual")
            self._index = index
        return self._index

    def _share(self) -> None:
        """Let those read the index who may read its folder: tantivy thinks of its owner only."""
        mode = self._folder.stat().st_mode & 0o666
        for name in ("meta.json", ".managed.json"):
            (self._folder / name).chmod(mode)

    def _openable(self) -> Path:
        """Give a folder that tantivy can make its lock in, even if the index's is read-only."""
        if os.access(self._folder, os.W_OK) or not self._folder.is_dir():
            return self._folder
        self._links = TemporaryDirectory(prefix="qa-lexical-")
        for path in self._folder.iterdir():
            if path.suffix != ".lock":
                Path(self._links.name, path.name).symlink_to(path.absolute())
        return Path(self._links.name)

    def _open_writer(self) -> IndexWriter:
        if self._writer is None:
            self._writer = self._open().writer(WRITER_BYTES, 1)
        return self._writer

    def _any_of(self, rows: list[int]) -> Query:
        from tantivy import Query

        return Query.term_set_query(self._open().schema, "row", rows)

    def _newer_than(self, row: int) -> Query:
        from tantivy import FieldType, Query

        return Query.range_query(
            self._open().schema, "row", FieldType.Unsigned, lower_bound=row, include_lower=False
        )


@cache
def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder().add_unsigned_field("row", indexed=True, fast=True)
    return builder.add_text_field("body", tokenizer_name=ANALYZER, index_option="freq").build()


def _add(writer: IndexWriter, texts: Iterable[tuple[int, str]]) -> None:
    from tantivy import Document

    for row, text in texts:
        document = Document()
        document.add_unsigned("row", row)
        document.add_text("body", text)
        writer.add_document(document)
