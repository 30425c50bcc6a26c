"""The digest of an item, as a page shows it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from qa_system.answering.finding import refuse_unknown
from qa_system.arguments import check_text
from qa_system.digests.records import Digest
from qa_system.digests.versions import quotes_gone
from qa_system.errors import DigestNotFoundError

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore

__all__ = ["digest_of"]


def digest_of(store: ReviewStore, item_id: str, place: str) -> Digest:
    """Return the digest of an item.

    Args:
        store: that keeps it.
        item_id: the item, compared exactly as it is.
        place: the store's, for errors.

    Raises:
        UnknownItemError: the store has no review of the item.
        DigestNotFoundError: it has reviews, and no digest was made of them, or the digest quotes
            a review that was deleted since.
    """
    check_text("item_id", item_id)
    refuse_unknown(store, item_id, place)
    found = store.get_digest(item_id)
    if found is None:
        raise _missing(f"there is no digest of item {item_id!r}", item_id, place)
    if quotes_gone(found, store.reviews_of_items([item_id]).get(item_id, {})):
        raise _missing(f"the digest of item {item_id!r} quotes a deleted review", item_id, place)
    return found


def _missing(what: str, item_id: str, place: str) -> DigestNotFoundError:
    remedy = f"Make it: qa-index digest --item {shlex.quote(item_id)}."
    return DigestNotFoundError(what, where=place, remedy=remedy)
