"""The files of the lexical index: they follow the ledger, and are built anew where they cannot.

`lexical-EPOCH/` is an index of tantivy's. `lexical.json` says which epoch counts (none: `lexical/`,
of a store written before there were epochs), and of which generation it is. An index that cannot
follow is built anew in the next epoch's folder; the stamp names that one when it is whole. Until
then readers have the older index, and whatever ends the building leaves that as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from qa_system.stores.analysis import ANALYZER
from qa_system.stores.embedded.access import make_folder
from qa_system.stores.embedded.checksums import Checker
from qa_system.stores.embedded.derived.lexical import (
    WRITER_BYTES,
    DamagedIndexError,
    LexicalView,
    advance,
    make_index,
    newer_than,
    open_index,
    reporting_damage,
)
from qa_system.stores.embedded.derived.segments import (
    damage,
    openable,
    opstamp_of,
    records_of,
    share_files,
)
from qa_system.stores.embedded.derived.substitute import Substitute
from qa_system.stores.embedded.layout import LEXICAL_FOLDER, LEXICAL_STAMP, remove_lexical
from qa_system.stores.embedded.ledger.snapshot import Snapshot
from qa_system.stores.embedded.ledger.state import State
from qa_system.stores.embedded.stamps import FILES, read_stamp, write_stamp

if TYPE_CHECKING:
    from tantivy import Index, IndexWriter

__all__ = ["LexicalIndex"]

log = logging.getLogger(__name__)

_STAMP: Final[dict[str, type]] = {
    "store_id": str,
    "analyzer": str,
    "generation": int,
    "last_row": int,
    "opstamp": int,
}
_TRIES, _PAUSE = 10, 0.002


@dataclass(frozen=True, slots=True)
class _Opened:
    """An index that is read; `links` keeps the folder of links alive that it was opened by."""

    folder: Path
    index: Index
    links: TemporaryDirectory[str] | None


@dataclass(frozen=True, slots=True)
class _Written:
    """An index that is written, by the one writer that tantivy allows."""

    folder: Path
    writer: IndexWriter


class LexicalIndex:
    """The lexical index of a store: opened by readers, brought up to date by the writer.

    Args:
        store: the store's folder.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._stamp_path = store / LEXICAL_STAMP
        self._refreshing = Lock()
        self._opened: _Opened | None = None
        self._written: _Written | None = None
        self._view: LexicalView | None = None
        self._substitute = Substitute(store)
        self._checker = Checker()
        self._condemned: Path | None = None
        self._given_up_at: int | None = None
        self._told: str | None = None
        self._is_trusted = False

    def view(self, state: State) -> LexicalView | None:
        """Return the index at the state's generation, or as far as its files have got.

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

    def fit(self, state: State, needed: int) -> LexicalView | None:
        """Return a view between two generations, of the files or of the substitute in memory.

        Args:
            state: of the snapshot that documents are read from; no view is newer.
            needed: the oldest generation that answers; None is returned where every view is older.
        """
        view = self.view(state)
        if view is not None and needed <= view.generation <= state.generation:
            self._substitute.drop()
            self._given_up_at = None
            return view
        known = self._substitute.view(state.store_id)
        fits = known is not None and needed <= known.generation <= state.generation
        return known if fits else None

    def give_up(self, state: State) -> None:
        """Note that it is in vain to wait for the files, until they have got further."""
        self._given_up_at = self._progress(state)

    def has_given_up(self, state: State) -> bool:
        """Whether it was in vain to wait for the files, and they have got no further since."""
        return self._given_up_at == self._progress(state)

    def make_substitute(self, reading: Callable[[], AbstractContextManager[Snapshot]]) -> None:
        """Bring an index in memory to the newest generation; `fit` returns it from then on."""
        self._substitute.make(reading)

    def find_damage(self, state: State) -> str | None:
        """Read all files again, and return what is wrong with them; None: nothing.

        Files that are damaged are not searched any more.
        """
        stamp = self._read_stamp(state.store_id)
        if stamp is None:
            return None
        self._checker.read_again()
        folder = self._folder(stamp)
        found = damage(folder, stamp, self._checker)
        if found is None or self._read_stamp(state.store_id) != stamp:
            return None
        self._condemn(folder, _damaged(folder, found))
        return found

    def condemn(self, view: LexicalView, error: DamagedIndexError) -> None:
        """Never search a view's files again, which a search found damaged.

        Raises:
            DamagedIndexError: it has no files, but is in memory.
        """
        if view.folder is None:
            raise error
        stamp, found = self._read_stamp(view.store_id), None
        if stamp is not None and self._folder(stamp) == view.folder:
            self._checker.read_again()
            found = damage(view.folder, stamp, self._checker)
        self._condemn(view.folder, error if found is None else _damaged(view.folder, found))

    def _condemn(self, folder: Path, error: DamagedIndexError) -> None:
        self._tell(error)
        self._condemned, self._view = folder, None

    def catch_up(self, snapshot: Snapshot) -> None:
        """Bring the files to the snapshot's generation; the caller holds the writer's lock.

        Files that cannot follow are built anew, beside the old ones. What a writer has left that
        did not close the index is counted once: a kill among tantivy's commits and merges was
        seen to leave documents that are deleted in the ledger.

        Raises:
            DamagedIndexError: the index cannot be built anew either.
            OSError: the same.
        """
        stamp = self._read_stamp(snapshot.state.store_id)
        try:
            is_kept, reason = self._follow(snapshot, stamp)
        except DamagedIndexError as error:
            is_kept, reason = False, error.what
        if not is_kept:
            stamp = self._build_anew(snapshot)
            if reason is not None:
                log.warning("the lexical index in %s was built anew: %s", self._store, reason)
        if stamp is not None and not (is_kept and self._is_trusted):
            self._sweep(self._folder(stamp))
        self._is_trusted = True

    def _follow(self, snapshot: Snapshot, stamp: dict[str, Any] | None) -> tuple[bool, str | None]:
        """Bring the files that count to the snapshot's generation.

        Returns:
            Whether they are there now, and the reason why not, if a user should know it.

        Raises:
            DamagedIndexError: they cannot be used.
        """
        state = snapshot.state
        if stamp is None:
            return False, "its stamp is missing, damaged or of another store" if any(
                self._folders()
            ) else None
        if stamp["generation"] < state.history:
            return False, None
        if stamp["generation"] > state.generation:
            return False, "it was newer than the ledger"
        folder = self._folder(stamp)
        if folder == self._condemned:
            return False, self._told
        if FILES not in stamp and stamp["generation"] < state.generation:
            return False, None  # of version 0.1: from now on it has checksums
        found = damage(folder, stamp, self._checker)
        if found is not None:
            return False, found
        was_closed = stamp.get("closed") is True and stamp["opstamp"] == opstamp_of(folder)
        committed = None
        if stamp["generation"] != state.generation or self.view(state) is None:
            committed = self._commit(snapshot, stamp, folder)
        if not (self._is_trusted or was_closed) and self._is_off(snapshot, folder):
            return False, "it is not what its stamp says"
        if committed is not None:
            self._write_stamp(snapshot, committed, stamp)
        if self.view(state) is None:
            return False, self._told or "it cannot be read"
        return True, None

    def _is_off(self, snapshot: Snapshot, folder: Path) -> bool:
        """Tell whether the index holds more or fewer documents than the ledger has texts."""
        with self._refreshing, reporting_damage(folder):
            index = self._open(folder).index
            index.reload()
            found = index.searcher().num_docs
        [(texts,)] = snapshot.execute("SELECT count(*) FROM documents WHERE content IS NOT NULL")
        return bool(found != texts)

    def _commit(self, snapshot: Snapshot, stamp: dict[str, Any], folder: Path) -> int:
        try:
            with reporting_damage(folder):
                writer = self._open_writer(folder)
                if opstamp_of(folder) != stamp["opstamp"]:
                    # A crash came between a commit and its stamp: what it added is added again.
                    writer.delete_documents_by_query(newer_than(stamp["last_row"]))
                opstamp = advance(writer, snapshot, stamp["generation"], stamp["last_row"])
                share_files(folder)
                return opstamp
        except BaseException:
            # What was added without a commit must not be there when it is added again.
            self._written = None
            raise

    def _open_writer(self, folder: Path) -> IndexWriter:
        if self._written is None or self._written.folder != folder:
            self._written = None
            with self._refreshing:
                # Opened anew: tantivy lists an index's files when it opens it, and another process
                # may have written since. Through links, nothing would be written into the folder.
                self._opened = None
                opened = self._open(folder)
            index = opened.index if opened.links is None else open_index(folder)
            writer = index.writer(WRITER_BYTES, 1)
            # What a killed commit has left may stand where the next one wants to write.
            writer.garbage_collect_files()
            self._written = _Written(folder, writer)
        return self._written.writer

    def _build_anew(self, snapshot: Snapshot) -> dict[str, Any]:
        """Build the index in a folder of the next epoch, then let that one count."""
        self._written = None
        matches = [LEXICAL_FOLDER.fullmatch(path.name) for path in self._store.iterdir()]
        epoch = 1 + max((int(found[1]) for found in matches if found and found[1]), default=-1)
        folder = self._store / f"lexical-{epoch}"
        make_folder(folder)
        writer = None
        try:
            with reporting_damage(folder):
                writer = make_index(folder).writer(WRITER_BYTES, 1)
                opstamp = advance(writer, snapshot, snapshot.state.generation, 0)
                share_files(folder)
            stamp = self._write_stamp(snapshot, opstamp, {"epoch": epoch})
        except Exception:
            writer = None
            remove_lexical(folder)
            raise
        self._written = _Written(folder, writer)
        self._view = None
        if self.view(snapshot.state) is None:
            raise DamagedIndexError("the lexical index was built anew and cannot be read")
        return stamp

    def generation(self) -> int:
        """Return the generation that the files say they are of, -1 if they say nothing."""
        stamp = read_stamp(self._stamp_path, **_STAMP)
        return -1 if stamp is None else int(stamp["generation"])

    def close(self) -> None:
        """Let the writer finish its merges, and let the files go.

        Raises:
            DamagedIndexError: the merges failed; the index is as it was before them.
        """
        written, self._written = self._written, None
        if written is not None:
            with reporting_damage(written.folder):
                written.writer.wait_merging_threads()
                share_files(written.folder)
                stamp = read_stamp(self._stamp_path, **_STAMP)
                if stamp is not None:
                    files = records_of(written.folder, stamp.get(FILES, {}), self._checker)
                    write_stamp(self._stamp_path, {**stamp, **files, "closed": True})
        self.drop()

    def release(self) -> None:
        """Release tantivy's own writer lock; another process may write from now on."""
        self._written = None
        self._is_trusted = False

    def drop(self) -> None:
        """Let the files go as they are."""
        self.release()
        self._opened = self._view = None
        self._substitute.drop()
        self._condemned = self._given_up_at = None

    def _refresh(self, store_id: str) -> LexicalView | None:
        """Open the index as it is on the disk.

        A commit comes an instant before its stamp. So that a view is of exactly the generation
        that it names, tantivy's own count of operations is compared before and after. An epoch's
        folder goes an instant after the stamp names another.
        """
        for _ in range(_TRIES):
            stamp = self._read_stamp(store_id)
            if stamp is None or self._folder(stamp) == self._condemned:
                break
            folder = self._folder(stamp)
            opstamp = opstamp_of(folder)
            try:
                found = damage(folder, stamp, self._checker)
                if found is not None:
                    raise _damaged(folder, found)
                with reporting_damage(folder):
                    index = self._open(folder).index
                    index.reload()
                    searcher = index.searcher()
            except DamagedIndexError as error:
                self._opened = None
                if self._read_stamp(store_id) != stamp or opstamp != opstamp_of(folder):
                    continue
                self._tell(error)
                break
            self._told = None
            if opstamp == stamp["opstamp"] == opstamp_of(folder):
                self._view = LexicalView(store_id, stamp["generation"], folder, searcher)
                return self._view
            sleep(_PAUSE)
        self._opened = self._view = None
        return None

    def _open(self, folder: Path) -> _Opened:
        if self._opened is None or self._opened.folder != folder:
            self._opened = None
            place, links = openable(folder)
            self._opened = _Opened(folder, open_index(place), links)
        return self._opened

    def _progress(self, state: State) -> int:
        view = self.view(state)
        return -1 if view is None else view.generation

    def _tell(self, error: DamagedIndexError) -> None:
        """Log an error, once."""
        if error.what != self._told:
            self._told = error.what
            log.warning("the index in %s: %s", self._store, error.what)

    def _folders(self) -> Iterator[Path]:
        """Yield the folders of all epochs."""
        for path in self._store.iterdir():
            if LEXICAL_FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path

    def _sweep(self, kept: Path) -> None:
        """Remove the folders of other epochs: older ones, and those that a kill left unfinished."""
        for folder in list(self._folders()):
            if folder != kept:
                remove_lexical(folder)

    def _folder(self, stamp: dict[str, Any]) -> Path:
        epoch = stamp.get("epoch")
        return self._store / ("lexical" if epoch is None else f"lexical-{epoch}")

    def _read_stamp(self, store_id: str) -> dict[str, Any] | None:
        stamp = read_stamp(self._stamp_path, **_STAMP)
        if stamp is None or (stamp["store_id"], stamp["analyzer"]) != (store_id, ANALYZER):
            return None
        return stamp if type(stamp.get("epoch", 0)) is int else None

    def _write_stamp(
        self, snapshot: Snapshot, opstamp: int, former: dict[str, Any]
    ) -> dict[str, Any]:
        """Write the stamp of an index; `former` has its epoch and the files known before."""
        state, folder = snapshot.state, self._folder(former)
        with reporting_damage(folder):
            files = records_of(folder, former.get(FILES, {}), self._checker)
        stamp = {
            "store_id": state.store_id,
            "analyzer": ANALYZER,
            "generation": state.generation,
            "last_row": snapshot.last_row(),
            "opstamp": opstamp,
            **files,
        }
        if "epoch" in former:
            stamp["epoch"] = former["epoch"]
        write_stamp(self._stamp_path, stamp)
        return stamp


def _damaged(folder: Path, found: str) -> DamagedIndexError:
    return DamagedIndexError(
        f"the lexical index is damaged: {folder.name}/{found}", where=str(folder)
    )
