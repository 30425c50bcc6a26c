"""The items of a store, and how many reviews each has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore

__all__ = ["Item", "list_items"]

PAGE: Final = 100_000
FIELD: Final = "meta.item_id"


class Item(NamedTuple):
    """An item, and the number of its reviews."""

    item_id: str
    reviews: int


def list_items(store: ReviewStore, search: str | None = None) -> Iterator[Item]:
    """List the items of a store by their ids.

    Args:
        store: the store.
        search: a part of their ids, without regard to case; None: all.

    >>> import tempfile
    >>> from haystack import Document
    >>> from qa_system.stores import FAISSDocumentStore
    >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
    ...     ids = {"r1": "lamp", "r2": "mug", "r3": "lamp"}
    ...     made = [Document(id=name, meta={"item_id": item}) for name, item in ids.items()]
    ...     _ = store.write_documents(made)
    ...     list(list_items(store)), next(list_items(store, "MU"))
    ([Item(item_id='lamp', reviews=2), Item(item_id='mug', reviews=1)],
     Item(item_id='mug', reviews=1))
    """
    first = 0
    while True:
        page, total = store.get_metadata_field_unique_values(FIELD, search, first, PAGE)
        for item_id in page:
            condition = {"field": FIELD, "operator": "==", "value": item_id}
            yield Item(item_id, store.count_documents_by_filter(condition))
        first += PAGE
        if first >= total:
            return
