"""Whether the derived indexes say what the ledger says."""

from __future__ import annotations

from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.stores.documents import decode_vectors
from qa_system.stores.embedded.derived.ann import ApproximateIndex
from qa_system.stores.embedded.derived.lexical import DamagedIndexError
from qa_system.stores.embedded.derived.lexical_index import LexicalIndex
from qa_system.stores.embedded.derived.vector_view import VectorView, normalized
from qa_system.stores.embedded.derived.vectors import VectorFiles
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot

__all__ = ["find_errors"]

REMEDY: Final = "; who may write the store mends it by qa-index verify, or by any write"


def find_errors(
    snapshot: Snapshot,
    lexical: LexicalIndex,
    vectors: VectorFiles,
    approximate: ApproximateIndex,
) -> list[str]:
    """Return every disagreement, as a sentence each; every file is read."""
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
        found = vectors.find_damage(snapshot)
        errors += _vector_errors(snapshot, vectors) if found is None else [found + REMEDY]
        damage = approximate.find_damage(vectors.view(snapshot))
        errors += [] if damage is None else [damage + REMEDY]
    return errors


def _lexical_errors(snapshot: Snapshot, lexical: LexicalIndex) -> list[str]:
    state = snapshot.state
    damage = lexical.find_damage(state)
    if damage is not None:
        return [damage + REMEDY]
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
        return [error.what + REMEDY]
    errors = _differences("the lexical index", found, expected)
    if errors:
        lexical.condemn(view, DamagedIndexError(errors[0]))
    return errors


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
    if errors:
        vectors.give_up(snapshot)
    elif wrong := _wrong_vectors(snapshot, view):
        if vectors.has_checksums(snapshot):
            told = f"SQLite has other numbers in {counted(wrong, 'embedding')} than were written"
            return [f"{told}: restore store.sqlite3 from a backup"]
        errors.append(
            f"the vector files hold other numbers than SQLite in {counted(wrong, 'embedding')}"
        )
        vectors.give_up(snapshot)
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
