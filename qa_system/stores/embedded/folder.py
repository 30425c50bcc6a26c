"""The files of one store: who may write them, and how the derived ones follow the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock, RLock
from time import monotonic, sleep
from typing import Any, Final
from weakref import WeakSet

from qa_system.errors import StoreError
from qa_system.records import Similarity
from qa_system.stores.embedded.access import find_group, is_shared_with, share
from qa_system.stores.embedded.derived.ann import ApproximateIndex, IndexKind
from qa_system.stores.embedded.derived.follower import Follower
from qa_system.stores.embedded.derived.lexical_index import LexicalIndex
from qa_system.stores.embedded.derived.vectors import StaleSnapshotError, VectorFiles
from qa_system.stores.embedded.derived.verification import find_errors
from qa_system.stores.embedded.layout import check_free, own_paths
from qa_system.stores.embedded.ledger.database import Ledger
from qa_system.stores.embedded.ledger.snapshot import Snapshot, Transaction
from qa_system.stores.embedded.ledger.state import FORMAT
from qa_system.stores.embedded.ledger.upgrade import upgrade
from qa_system.stores.embedded.lock import WriterLock
from qa_system.stores.embedded.sentences.files import SentenceFiles, files_of

__all__ = ["SETTLE_WAIT", "StoreFolder"]

log = logging.getLogger(__name__)

LOCK_WAIT: Final = 1.0
"""Seconds that a writer waits for another: a reader that mends an index holds the lock briefly."""
SETTLE_WAIT: Final = 2.0
"""Seconds that a reader waits for the derived indexes to reach the ledger's generation."""
SETTLE_PAUSE: Final = 0.01
FOLLOW_PAUSE: Final = 0.3
"""Seconds between two commits of the lexical index during a long write: a commit costs as much
as the indexing of a thousand reviews. A search in the same process never waits for it."""
FORGOTTEN_AT: Final = 1_000
"""Tombstones that no index needs are dropped when there are so many."""
LONGEST_LOG: Final = 128_000_000
"""Bytes of SQLite's log at which a write stops to have it written into the file: while the
indexes follow without a break, SQLite itself finds no moment for that."""


class StoreFolder:
    """A store's ledger and derived indexes, for any number of threads.

    A write is done when the ledger has it. The derived indexes follow on a thread; a search that
    comes before them lets them catch up (`settle`). Locks are taken in this order: `_writing`,
    which serialises this process's writers; `_following`, which serialises the work on the
    derived indexes.

    Args:
        path: the folder.
        similarity: what a store that is not there yet would be made with.
        index: the kind of approximate index.
        gpu: search it on a GPU.
        group: of users that a new store is shared with; None: it is its owner's alone.
        check: told each snapshot, refuses those that contradict the settings.
    """

    def __init__(
        self,
        path: Path,
        similarity: Similarity,
        index: IndexKind,
        *,
        gpu: bool,
        group: str | None,
        check: Callable[[Snapshot], None],
    ) -> None:
        self.path = path
        self.ledger = Ledger(path, similarity)
        self.lexical = LexicalIndex(path)
        self.vectors = VectorFiles(path)
        self.sentences = SentenceFiles(path)
        self.approximate = ApproximateIndex(path, index, gpu=gpu)
        self._check = check
        self._group = group
        self._lock = WriterLock(path)
        self._is_upgraded = False
        self._deleted = 0
        self._is_checked = False
        self._is_told_of_group = False
        self._failed: dict[str, tuple[str, int]] = {}
        self._begin_threading()
        _folders.add(self)

    def _begin_threading(self) -> None:
        self._writing = RLock()
        self._following = RLock()
        self._follower = Follower(self._follow, FOLLOW_PAUSE)

    def rest(self) -> None:
        """Keep this store's threads out of SQLite until `go_on`.

        A child that is forked while another thread is inside SQLite inherits its mutexes locked,
        and would wait for them for ever.
        """
        self._writing.acquire()
        self._following.acquire()

    def go_on(self) -> None:
        """End a `rest`."""
        self._following.release()
        self._writing.release()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Keep other threads of this process from the derived files until the block ends."""
        self.rest()
        try:
            yield
        finally:
            self.go_on()

    def leave_to_parent(self) -> None:
        """Begin anew in a forked child, which has the parent's objects but not its threads."""
        _left_to_parent.append(self.lexical)
        self.lexical = LexicalIndex(self.path)
        self._begin_threading()

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Read the ledger at one generation."""
        with self.ledger.snapshot() as snapshot:
            self._check(snapshot)
            yield snapshot

    def check_place(self) -> None:
        """Refuse a folder that is no store and holds something else.

        Files that this process puts there before the store is made do not count.

        Raises:
            StoreError: it does; or its `store.sqlite3` is none of ours; or there is no such group.
        """
        group = find_group(self._group)
        if self.ledger.exists():
            with self.ledger.snapshot():
                self._is_checked = False
            if not (self._is_told_of_group or is_shared_with(self.path, group)):
                self._is_told_of_group = True
                log.warning(
                    "%s was not made for the group %s, and keeps its modes: store.group is for a "
                    "new store; qa doctor says how to share this one",
                    *(self.path, self._group),
                )
        elif not self._is_checked:
            check_free(self.path)
            self._is_checked = True

    @contextmanager
    def writing(self, *, searchable: bool = True) -> Iterator[Transaction]:
        """Write to the ledger; what is not there is made.

        Args:
            searchable: whether a search can tell that something was changed.

        Raises:
            StoreLockedError: another process, or another store object, is writing.
            StoreError: the folder is no store, and not free to become one.
        """
        with self._writing:
            if not self._lock.is_held:
                self.check_place()
            group = None if self.ledger.exists() else find_group(self._group)
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock.acquire(LOCK_WAIT)
            except OSError as error:
                raise StoreError(
                    f"the store's folder cannot be written: {error.strerror or error}",
                    where=str(self.path),
                    remedy="Check that it is a folder, and its permissions.",
                ) from error
            if not self.ledger.exists():
                self.ledger.create(group)
                share(self.path, [self.path, *own_paths(self.path)], group)
            elif not self._is_upgraded:
                self._upgrade()
            with self.ledger.transaction(searchable=searchable) as transaction:
                self._check(transaction)
                before = transaction.state.sentences
                yield transaction
            self._tend_sentences(transaction, before)
            if searchable:
                self._follower.request()
            if self.ledger.log_bytes() > LONGEST_LOG:
                with self._following:
                    self._follow()
                    self.ledger.checkpoint()

    def _tend_sentences(self, done: Transaction, before: dict[str, Any]) -> None:
        """Remove the sentences that a write has replaced; copy the living if many are dead."""
        self._deleted += done.deleted
        if self._deleted >= FORGOTTEN_AT:
            self.compact_sentences()
        elif files_of(done.state.sentences) != files_of(before):
            self.sentences.sweep(done.state)

    def compact_sentences(self) -> None:
        """Copy the living sentences into new files, if many are dead; the lock is held."""
        self._deleted = 0
        with self.ledger.transaction(searchable=False) as transaction:
            if self.sentences.is_worn(transaction):
                self.sentences.copy(transaction)
        self.sentences.sweep(transaction.state)

    def _upgrade(self) -> None:
        """Bring a store of an earlier version to this one's format; the writer's lock is held."""
        with self.ledger.transaction() as transaction:
            self._check(transaction)
            if transaction.state.format < FORMAT:
                upgrade(transaction)
        self._is_upgraded = True

    def settle(self) -> None:
        """Let the derived indexes catch up: by this process, if it may, else by waiting a bit."""
        if self._lock.is_held:
            self._follow()
            return
        with self._owning() as is_owner:
            if is_owner:
                self._follow()
        if not is_owner:
            sleep(SETTLE_PAUSE)

    def write_space(self, space: int, dimension: int) -> None:
        """Write the vector files of a re-embedding before they are searched.

        Nobody follows the ledger meanwhile: a process that has read an older generation does not
        know the space, and would remove its files.
        """
        with self._following, self.reading() as snapshot:
            self.vectors.write_space(snapshot, space, dimension)

    def build_index(self) -> None:
        """Bring the derived indexes to the ledger's generation, the approximate one, too."""
        if self.ledger.exists():
            with self.writing(searchable=False):
                pass  # takes the writer's lock, which is kept
            self.settle()
            self.build_approximate()

    def build_approximate(self) -> None:
        """Build the approximate index, if it is due; the writer's lock is held."""
        with self._following, self.ledger.snapshot() as snapshot:
            view = self.vectors.view(snapshot)
            if self.approximate.is_due(view):
                self.approximate.build(view)

    def errors(self) -> list[str]:
        """Compare the derived indexes with the ledger, after they had time to catch up.

        What is damaged is built anew, if this process may write; what is returned is still wrong.
        """
        until = monotonic() + SETTLE_WAIT
        for attempt in count():
            self.settle()
            with self.reading() as snapshot:
                errors = find_errors(snapshot, self.lexical, self.vectors, self.approximate)
                errors += self.sentences.errors(snapshot)
            if not errors or (attempt and monotonic() > until):
                break
            with self._owning() as is_owner:
                if is_owner:
                    self._follow()
                    self._try(self.build_approximate)
        return errors

    def size(self) -> int:
        """Return the bytes of all files."""
        total = 0
        for path in self.path.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:  # gone since it was listed
                continue
        return total

    def close(self) -> None:
        """Finish the derived indexes, and give back files and lock."""
        self._follower.finish()
        with self._writing, self._following:
            try:
                if self._lock.is_held:
                    self._follow()
                    self._try(self.lexical.close)
                    self._try(self.build_approximate)
                    self._try(self.compact_sentences)
                    self.ledger.checkpoint()
                    with suppress(OSError):
                        share(self.path, own_paths(self.path))
            finally:
                self.let_go()

    def _try(self, finish: Callable[[], None]) -> None:
        try:
            finish()
        except (StoreError, OSError, ValueError, StaleSnapshotError) as error:
            log.warning("an index in %s was not finished: %s", self.path, error)

    def let_go(self) -> None:
        """Release files and lock as they are."""
        self.lexical.drop()
        self.vectors.close()
        self.sentences.close()
        self.approximate.close()
        self.ledger.close()
        self._lock.release()
        self._failed.clear()

    def _follow(self) -> None:
        """Bring the derived indexes to the ledger's generation, if this process may write.

        What was written is durable already. An error here is logged, not raised: searches answer
        from the ledger in the meantime, and the next write or opening tries again.
        """
        with self._following:
            if not self._lock.is_held:
                return
            try:
                with self.ledger.snapshot() as snapshot:
                    has_vectors = self._bring("vectors", self.vectors.catch_up, snapshot)
                    has_words = self._bring("lexical index", self.lexical.catch_up, snapshot)
                    if not has_words:
                        self.lexical.give_up(snapshot.state)
                    needed = self.vectors.since(snapshot)
                    if needed is None:
                        needed = snapshot.state.generation
                    kept = snapshot.count_tombstones(needed)
                    superfluous = snapshot.count_tombstones(0) - kept
                if has_vectors and has_words and superfluous > FORGOTTEN_AT:
                    with self.ledger.transaction(searchable=False) as transaction:
                        transaction.forget(needed)
            except (StoreError, OSError, ValueError) as error:
                log.warning("the indexes in %s could not follow the ledger: %s", self.path, error)

    def _bring(self, name: str, catch_up: Callable[[Snapshot], None], snapshot: Snapshot) -> bool:
        """Bring one derived index to the snapshot's generation; an error does not stop the other.

        Where that fails, it is tried again after the next write; the first failure is logged.
        """
        state = snapshot.state
        if self._failed.get(name) == (state.store_id, state.generation):
            return False
        try:
            catch_up(snapshot)
        except (StoreError, OSError, ValueError) as error:
            if name not in self._failed:
                log.warning("the %s in %s cannot follow the ledger: %s", name, self.path, error)
            self._failed[name] = (state.store_id, state.generation)
            return False
        self._failed.pop(name, None)
        return True

    @contextmanager
    def _owning(self) -> Iterator[bool]:
        """Hold the writer's lock, unless somebody else has it, or there is no store."""
        with self._writing:
            was_held = self._lock.is_held
            try:
                if self.ledger.exists():
                    self._lock.acquire(0)
            except (StoreError, OSError):
                pass
            try:
                yield self._lock.is_held
            finally:
                if not was_held:
                    with self._following:
                        self.lexical.release()
                        self._lock.release()


_folders: WeakSet[StoreFolder] = WeakSet()
_left_to_parent: list[LexicalIndex] = []
"""Kept, so that a child never waits for tantivy's threads, which the parent has."""


_at_rest: list[StoreFolder] = []
"""Those that rest while the process forks, and nobody else forks."""
_forking = Lock()


def _before_fork() -> None:
    _forking.acquire()
    _at_rest[:] = _folders
    for folder in _at_rest:
        folder.rest()


def _after_fork_in_parent() -> None:
    while _at_rest:
        _at_rest.pop().go_on()
    _forking.release()


def _after_fork_in_child() -> None:
    while _at_rest:
        _at_rest.pop().leave_to_parent()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
