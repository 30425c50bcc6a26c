"""Whether the derived indexes say what the ledger says."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.stores.documents import decode_vectors
from qa_system.stores.embedded.derived.lexical import DamagedIndexError
from qa_system.stores.embedded.derived.lexical_index import LexicalIndex
from qa_system.stores.embedded.derived.vector_view import VectorView, normalized
from qa_system.stores.embedded.derived.vectors import VectorFiles
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot

__all__ = ["find_errors"]


def find_errors(snapshot: Snapshot, lexical: LexicalIndex, vectors: VectorFiles) -> list[str]:
    """Return every disagreement, as a sentence each."""
    errors = [
        f"SQLite: {text}" for (text,) in snapshot.execute("PRAGMA integrity_check") if text != "ok"
    ]
    space = snapshot.state.space
    orphans = _rows(
        snapshot, f"SELECT row FROM embeddings_{space} EXCEPT SELECT row FROM documents"
    )
    if len(orphans):
        errors.append(f"{counted(len(orphans), 'embedding')} of no document")
    if snapshot.state.generation:
        errors += _lexical_errors(snapshot, lexical)
    if snapshot.state.embedding_dim is not None:
        errors += _vector_errors(snapshot, vectors)
    return errors


def _lexical_errors(snapshot: Snapshot, lexical: LexicalIndex) -> list[str]:
    state = snapshot.state
    view = lexical.view(state)
    if view is None:
        return ["the lexical index is missing or cannot be read"]
    if view.generation != state.generation:
        return [f"the lexical index is of generation {view.generation}, not {state.generation}"]
    expected = _rows(snapshot, "SELECT row FROM documents WHERE content IS NOT NULL ORDER BY row")
    try:
        found = view.rows()
    except DamagedIndexError as error:
        lexical.condemn(view, error)
        return [error.what]
    return _differences("the lexical index", found, expected)


def _vector_errors(snapshot: Snapshot, vectors: VectorFiles) -> list[str]:
    state = snapshot.state
    written = vectors.generation(snapshot)
    if written != state.generation:
        return [f"the vector files are of generation {written}, not {state.generation}"]
    view = vectors.view(snapshot)
    live = view.rows[view.live]
    parts = [rows for rows, _ in snapshot.iter_vectors(state.space, 0)]
    expected = np.concatenate([np.empty(0, np.int64), *parts])
    errors = _differences("the vector files", live, expected)
    if len(view.tail):
        errors.append(
            f"the vector files lack {counted(len(view.tail), 'vector')} or cannot be read"
        )
    if not errors:
        wrong = _wrong_vectors(snapshot, view)
        if wrong:
            errors.append(
                f"the vector files hold other numbers than the ledger in {counted(wrong, 'row')}"
            )
    return errors


def _wrong_vectors(snapshot: Snapshot, view: VectorView) -> int:
    dimension, wrong = snapshot.state.embedding_dim, 0
    assert dimension is not None  # noqa: S101 - the caller has looked
    for rows, packed in snapshot.iter_vectors(view.space, 0):
        expected = decode_vectors(packed, dimension)
        if view.similarity == "cosine":
            expected = normalized(expected)
        found = view.vectors(view.positions(np.unique(rows)))
        wrong += int((found != expected).any(axis=1).sum())
    return wrong


def _differences(name: str, found: Rows, expected: Rows) -> list[str]:
    missing, extra = np.setdiff1d(expected, found), np.setdiff1d(found, expected)
    errors = []
    if len(missing):
        errors.append(f"{name} lacks {counted(len(missing), 'document')}")
    if len(extra):
        errors.append(f"{name} has {counted(len(extra), 'document')} too many")
    if not errors and not np.array_equal(found, expected):
        errors.append(f"{name} has another number of passages for some documents")
    return errors


def _rows(snapshot: Snapshot, sql: str) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(snapshot.execute(sql)), np.int64)
