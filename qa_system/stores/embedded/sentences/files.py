"""The files of sentences: appended to within a write, whose transaction says how long they are.

`sentences-SPACE-EPOCH.records` has a head and an embedding of each sentence,
`sentences-SPACE-EPOCH.terms` the hashes of their terms. The ledger has the size and the checksum
of both, and which of the sentences are each document's. They are written to the disk before the
transaction ends: what lies beyond the size is what a crash left, and goes with the next write. A
reader maps what its snapshot names, and needs no lock. A document that is deleted leaves its
sentences behind, until so many are dead that the rest is copied into the next epoch's files.

The ledger does not have the sentences themselves. Where a file is lost or damaged, documents are
divided when a question comes, and the next write begins with empty files; a re-embedding makes
all sentences again.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import StoreError
from qa_system.stores.checks import reembed_command
from qa_system.stores.embedded.access import append_to, sync_folder
from qa_system.stores.embedded.checksums import Checker
from qa_system.stores.embedded.checksums import record_of as checksum_of
from qa_system.stores.embedded.derived.vectors import StaleSnapshotError
from qa_system.stores.embedded.layout import SENTENCES_FILE
from qa_system.stores.embedded.ledger.snapshot import Snapshot, Transaction
from qa_system.stores.embedded.ledger.state import Place, State
from qa_system.stores.embedded.sentences.view import SentenceView, packed, record_of
from qa_system.stores.sentences import SentenceColumns

__all__ = ["SentenceFiles", "files_of"]

log = logging.getLogger(__name__)

DEAD_SHARE: Final = 0.25
FEWEST_DEAD: Final = 10_000
ATTEMPTS: Final = 5
"""Snapshots whose files are not there until those that are asked for count as damaged."""
COPIED_AT_ONCE: Final = 2_000
"""Reviews whose sentences are copied together into the next epoch's files."""


class SentenceFiles:
    """The files: mapped by readers, appended to by the writer.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checker = Checker()
        self._known: tuple[dict[str, Any], SentenceView] | None = None
        self._unusable: dict[str, Any] | None = None

    def view(self, snapshot: Snapshot, attempt: int) -> SentenceView | None:
        """Return the sentences that a snapshot names; None: there are none, or they are damaged.

        Args:
            snapshot: one generation.
            attempt: how often it was tried before with other snapshots. Another process may
                replace files between a snapshot and a look at them, a few times in a row.

        Raises:
            StaleSnapshotError: the files may have been replaced since the snapshot.
        """
        space = snapshot.state.space
        noted = snapshot.state.sentences.get(str(space))
        if noted is None or noted == self._unusable:
            return None
        known = self._known
        if known is not None and known[0] == noted:
            return known[1]
        try:
            view = self._map(noted)
        except (OSError, ValueError) as error:
            if attempt < ATTEMPTS:
                raise StaleSnapshotError from error
            self._unusable = noted
            log.warning(
                "the sentences in %s cannot be used, and reviews are divided when they are asked"
                " about: %s; %s makes them again",
                *(self._folder, error, self._remedy(snapshot)),
            )
            return None
        self._known = noted, view
        return view

    def begin(self, transaction: Transaction, space: int, dimension: int) -> None:
        """Make empty files for a space."""
        noted, _ = self._written(self._begun(space, dimension), [])
        transaction.set_sentences(space, noted)

    def append(
        self,
        transaction: Transaction,
        parts: Sequence[SentenceColumns],
        space: int | None = None,
    ) -> list[Place]:
        """Write the sentences of reviews, and note what the files are then.

        Args:
            transaction: which inserts the places that are returned.
            parts: the sentences of each review; there is at least one.
            space: of their embeddings; None: the one that is searched.

        Raises:
            StoreError: they cannot be written.
        """
        space = transaction.state.space if space is None else space
        width = max(part.vectors.shape[1] for part in parts)
        noted = transaction.state.sentences.get(str(space))
        if noted is None or self._is_dropped(transaction, space):
            dimension = max(width, transaction.state.embedding_dim or 0)
            noted = self._begun(space, dimension)
        elif noted["dimension"] < width:
            noted = self._copied(transaction, space, width)
        noted, places = self._written(noted, [parts])
        transaction.set_sentences(space, noted)
        return places

    def copy(self, transaction: Transaction) -> None:
        """Copy what is alive in each space into files of a new epoch."""
        for space, noted in transaction.state.sentences.items():
            if self._is_dropped(transaction, int(space)):
                copied, _ = self._written(self._begun(int(space), noted["dimension"]), [])
            else:
                copied = self._copied(transaction, int(space), noted["dimension"])
            transaction.set_sentences(int(space), copied)

    def is_sound(self, state: State, space: int) -> bool:
        """Tell whether a space's files are as they were written; so they are if it has none."""
        noted = state.sentences.get(str(space))
        return noted is None or self._damage(noted) is None

    def _is_dropped(self, transaction: Transaction, space: int) -> bool:
        """Drop the sentences of a space whose files are damaged, and tell; else return False."""
        damage = self._damage(transaction.state.sentences[str(space)])
        if damage is None:
            return False
        lost = transaction.execute(f"DELETE FROM sentences_{space}").rowcount
        log.warning(
            "%s: the sentences of %s in %s are dropped, and divided when they are asked about; %s"
            " makes them again",
            *(damage, counted(lost, "document"), self._folder, self._remedy(transaction)),
        )
        return True

    def is_worn(self, snapshot: Snapshot) -> bool:
        """Tell whether so many sentences are dead that the rest is better copied."""
        for space, noted in snapshot.state.sentences.items():
            count = _count(noted)
            sql = f"SELECT ifnull(sum(sentence_count), 0) FROM sentences_{space}"
            dead = count - int(snapshot.execute(sql).fetchone()[0])
            if dead > max(FEWEST_DEAD, DEAD_SHARE * count):
                return True
        return False

    def sweep(self, state: State) -> None:
        """Remove the files that the ledger does not name; the caller holds the writer's lock."""
        named = files_of(state.sentences)
        for path in list(self._folder.iterdir()):
            if SENTENCES_FILE.fullmatch(path.name) and path.name not in named:
                with suppress(OSError):  # it is tried again after the next write
                    path.unlink()

    def errors(self, snapshot: Snapshot) -> list[str]:
        """Read the files again, and return every disagreement with the ledger."""
        self._checker.read_again()
        found = []
        for space, noted in snapshot.state.sentences.items():
            damage = self._damage(noted)
            if damage is not None:
                self._unusable, self._known = noted, None
                found.append(f"{damage}; {self._remedy(snapshot)} makes the sentences again")
                continue
            wrong = int(
                snapshot.execute(
                    f"SELECT count(*) FROM sentences_{space} WHERE row NOT IN"
                    " (SELECT row FROM documents) OR first_sentence + sentence_count > ?",
                    (_count(noted),),
                ).fetchone()[0]
            )
            if wrong:
                found.append(f"the sentences of {counted(wrong, 'document')} are not there")
        return found

    def _remedy(self, snapshot: Snapshot) -> str:
        return reembed_command(str(self._folder), snapshot.state.encoder)

    def close(self) -> None:
        """Let the files go."""
        self._known = self._unusable = None

    def _damage(self, noted: dict[str, Any]) -> str | None:
        return self._checker.damage(self._folder, noted["files"], may_grow=True)

    def _map(self, noted: dict[str, Any]) -> SentenceView:
        found = self._damage(noted)
        if found is not None:
            raise ValueError(found)
        records_path, terms_path = self._paths(noted)
        terms = noted["files"][terms_path.name][0] // 4
        # Plain arrays over the maps: indexing a memmap costs more than scoring ten rows.
        records = _mapped(records_path, record_of(noted["dimension"]), _count(noted))
        hashes = _mapped(terms_path, np.dtype(np.uint32), terms)
        return SentenceView(records["head"], records["vector"], hashes)

    def _begun(self, space: int, dimension: int) -> dict[str, Any]:
        """Return the note of empty files of an epoch that never was; they are not made yet."""
        epochs = [
            int(found[2])
            for path in self._folder.iterdir()
            if (found := SENTENCES_FILE.fullmatch(path.name)) and int(found[1]) == space
        ]
        stem = f"sentences-{space}-{1 + max(epochs, default=-1)}"
        files = {f"{stem}.{end}": [0, 0, 0] for end in ("records", "terms")}
        return {"dimension": dimension, "files": files}

    def _written(
        self, noted: dict[str, Any], batches: Iterable[Sequence[SentenceColumns]]
    ) -> tuple[dict[str, Any], list[Place]]:
        """Append sentences to files, and return their note and the place of each review's."""
        try:
            return self._write(noted, batches)
        except OSError as error:
            raise StoreError(
                f"the sentences cannot be written: {error.strerror or error}",
                where=str(self._folder),
                remedy="Check the folder's permissions and the disk's free space; nothing of this"
                " write was kept.",
            ) from error

    def _write(
        self, noted: dict[str, Any], batches: Iterable[Sequence[SentenceColumns]]
    ) -> tuple[dict[str, Any], list[Place]]:
        records = list(noted["files"].values())
        sizes, sums = [size for size, *_ in records], [crc for _, crc, _ in records]
        width = record_of(noted["dimension"]).itemsize
        places: list[Place] = []
        paths = self._paths(noted)
        with append_to(paths[0], sizes[0]) as heads, append_to(paths[1], sizes[1]) as terms:
            for parts in batches:
                for part in parts:
                    places.append(Place(sizes[0] // width, len(part), sizes[1] // 4))
                    for number, (file, data) in enumerate(
                        zip((heads, terms), packed(part, noted["dimension"]), strict=True)
                    ):
                        file.write(data)
                        sums[number] = zlib.crc32(data, sums[number])
                        sizes[number] += len(data)
            for file in (heads, terms):
                file.flush()
                os.fsync(file.fileno())
        if not any(size for size, *_ in records):
            sync_folder(self._folder)
        files = {
            path.name: checksum_of(path, size, crc)
            for path, size, crc in zip(paths, sizes, sums, strict=True)
        }
        return noted | {"files": files}, places

    def _copied(self, transaction: Transaction, space: int, dimension: int) -> dict[str, Any]:
        """Copy what is alive in a space into files of a new epoch, and note the new places."""
        noted = transaction.state.sentences[str(space)]
        view = self._map(noted)
        columns = ", ".join(Place._fields)
        sql = f"SELECT row, {columns} FROM sentences_{space} ORDER BY row"
        old = np.array(transaction.execute(sql).fetchall(), np.int64).reshape(-1, 4)
        fresh, places = self._written(self._begun(space, dimension), _parts(view, old))
        transaction.execute(f"DELETE FROM sentences_{space}")
        transaction.add_places(space, zip(old[:, 0].tolist(), places, strict=True))
        return fresh

    def _paths(self, noted: dict[str, Any]) -> tuple[Path, Path]:
        records, terms = (self._folder / name for name in noted["files"])
        return records, terms


def files_of(noted: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that are noted for all spaces."""
    return {name for each in noted.values() for name in each["files"]}


def _count(noted: dict[str, Any]) -> int:
    """Return how many sentences the files have."""
    size, *_ = next(iter(noted["files"].values()))
    return int(size) // record_of(noted["dimension"]).itemsize


def _mapped(path: Path, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    if not count:  # an empty stretch cannot be mapped
        return np.empty(0, kind)
    return np.memmap(path, kind, "r", shape=(count,)).view(np.ndarray)


def _parts(view: SentenceView, places: NDArray[np.int64]) -> Iterator[list[SentenceColumns]]:
    for start in range(0, len(places), COPIED_AT_ONCE):
        yield [view.columns(place[None]) for place in places[start : start + COPIED_AT_ONCE]]
