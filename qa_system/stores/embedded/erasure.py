"""Reviews erased: from the ledger's pages and log, from every derived file, labels and digests.

Deleting is not enough. SQLite keeps deleted text in free pages and in its log, tantivy until it
merges, a vector file until it is written anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from qa_system.errors import StoreError
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.layout import (
    ANN_FILES,
    LEXICAL_FOLDER,
    SENTENCES_FILE,
    VECTORS_FILE,
    remove_lexical,
)
from qa_system.stores.embedded.ledger import digests, labels
from qa_system.stores.embedded.ledger.snapshot import REVIEW
from qa_system.stores.filters import Condition
from qa_system.stores.writes import Forgotten

__all__ = ["forget"]


def forget(folder: StoreFolder, review_ids: Sequence[str]) -> Forgotten:
    """Erase reviews, and what the store's files still hold of any that was deleted before.

    After an interruption it is done again with the same ids, whether they are still there or not.

    Args:
        folder: the store's files.
        review_ids: a document is erased for its `meta.review_id` or its own id.

    Raises:
        StoreLockedError: another process writes, or reads an earlier generation all the time.
        StoreError: a derived file cannot be removed.
    """
    if not folder.ledger.exists():
        return Forgotten(0, 0)
    listed = orjson.dumps(list(review_ids)).decode()
    chosen = "(SELECT value FROM json_each(?))"
    condition = Condition(f"(id IN {chosen} OR {REVIEW} IN {chosen})", (listed, listed))
    with folder.resting(), folder.writing() as transaction:
        earlier = list(_derived(folder.path))
        transaction.execute("PRAGMA secure_delete = ON")
        rows = transaction.rows(condition)
        digested = digests.delete_of_reviews(transaction, review_ids, rows)
        transaction.delete(rows)
        folder.sentences.copy(transaction)
        number = labels.delete_of_reviews(transaction, review_ids)
        # No index can follow from here: each is written anew, without what was deleted.
        transaction.forget(transaction.generation)
    folder.settle()
    folder.approximate.close()
    folder.sentences.close()
    for path in earlier:
        _remove(path)
    folder.build_approximate()
    folder.ledger.scrub()
    return Forgotten(len(rows), number, digests=digested)


def _derived(folder: Path) -> Iterator[Path]:
    """Yield what holds text or vectors beside the ledger."""
    for path in folder.iterdir():
        is_lexical = LEXICAL_FOLDER.fullmatch(path.name) and path.is_dir()
        is_file = VECTORS_FILE.fullmatch(path.name) or SENTENCES_FILE.fullmatch(path.name)
        if is_lexical or is_file or path.name in ANN_FILES:
            yield path


def _remove(path: Path) -> None:
    """Delete a derived file of an earlier epoch, which its index may have done already."""
    try:
        if path.is_dir():
            remove_lexical(path)
        else:
            path.unlink(missing_ok=True)
        reason = "it holds other files" if path.exists() else None
    except OSError as error:
        reason = str(error.strerror or error)
    if reason is not None:
        raise StoreError(
            f"a file that may hold what is to be erased cannot be removed: {reason}",
            where=str(path),
            remedy="Delete it, and run the same command again; it is built anew.",
        )
