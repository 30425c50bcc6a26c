"""Versions of an index behind an alias: built aside, checked, swapped in by one call.

The store's name is an alias; the documents are in `<name>-v<n>`. Readers ask the alias, and so
see the whole of one version at any time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from qa_system.errors import StoreError, StoreMismatchError
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.mapping import IndexState, meta_of, read_state

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["base_of", "create", "live", "next_name", "number_of", "swap", "versions"]

_VERSION: Final = re.compile(r"(?P<base>.+)-v(?P<number>[1-9]\d*)")


def number_of(index: str) -> int:
    """Return a version's number, 0 for what is no version.

    >>> number_of("reviews-v12"), number_of("reviews")
    (12, 0)
    """
    found = _VERSION.fullmatch(index)
    return 0 if found is None else int(found["number"])


def base_of(index: str) -> str:
    """Return the name that a version belongs to.

    >>> base_of("reviews-v12"), base_of("reviews")
    ('reviews', 'reviews')
    """
    found = _VERSION.fullmatch(index)
    return index if found is None else found["base"]


def live(client: Elasticsearch, index: str, where: str) -> IndexState | None:
    """Read the index that a name stands for; None where there is none.

    Raises:
        StoreMismatchError: it was not made by this store, or the name stands for several.
    """
    with explained(where):
        found = client.options(ignore_status=404).indices.get(index=index)
    if found.meta.status == 404:
        return None
    if len(found.body) != 1:
        raise StoreMismatchError(
            f"{index!r} stands for several indexes: {', '.join(sorted(found.body))}",
            where=where,
            remedy="Name one of them, or another alias.",
        )
    [(name, described)] = found.body.items()
    return read_state(name, described, where)


def versions(client: Elasticsearch, base: str, where: str) -> list[IndexState]:
    """Read every version that there is, oldest first."""
    with explained(where):
        found = client.indices.get(index=f"{base}-v*", allow_no_indices=True)
    own = {name: text for name, text in found.body.items() if base_of(name) == base}
    named = sorted((name for name in own if number_of(name)), key=number_of)
    return [read_state(name, own[name], where) for name in named]


def next_name(client: Elasticsearch, base: str, where: str) -> str:
    """Return the name of a version that is not there yet."""
    with explained(where):
        found = client.indices.get(index=f"{base}-v*", allow_no_indices=True, features="aliases")
    last = max((number_of(name) for name in found.body if base_of(name) == base), default=0)
    return f"{base}-v{last + 1}"


def create(
    client: Elasticsearch,
    index: str,
    where: str,
    mappings: dict[str, Any],
    settings: dict[str, Any],
    alias: str | None = None,
) -> bool:
    """Create an index, with its alias in the same call; False if somebody else was faster."""
    import elasticsearch

    with explained(where):
        try:
            client.indices.create(
                index=index,
                mappings=mappings,
                settings=settings,
                aliases=None if alias is None else {alias: {}},
            )
        except elasticsearch.BadRequestError as error:
            if error.error == "resource_already_exists_exception":
                return False
            raise
    return True


def swap(client: Elasticsearch, alias: str, old: str | None, new: IndexState, where: str) -> None:
    """Let the alias stand for another version, in one call.

    Raises:
        StoreError: the alias does not stand for `old` any more.
    """
    import elasticsearch

    actions: list[dict[str, Any]] = [{"add": {"index": new.index, "alias": alias}}]
    if old is not None:
        removed = {"index": old, "alias": alias, "must_exist": True}
        actions.insert(0, {"remove": removed})
    # First, for a version that is read and not marked could not be rolled back to.
    meta = meta_of(new.similarity, new.encoder, promoted=True, notes=new.notes, format_=new.format)
    with explained(where):
        client.indices.put_mapping(index=new.index, meta=meta)
        try:
            client.indices.update_aliases(actions=actions)
        except elasticsearch.NotFoundError as error:
            raise StoreError(
                f"{alias!r} does not stand for {old!r} any more: somebody else has changed it",
                where=where,
                remedy="Look at the versions, and promote or roll back again.",
            ) from error
