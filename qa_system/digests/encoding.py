"""Digests as JSON objects, as stores keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from qa_system.digests.records import Aspect, Digest
from qa_system.errors import DataError
from qa_system.opinions import Quote

__all__ = ["decode_digest", "encode_digest"]


def encode_digest(digest: Digest) -> bytes:
    """Return a digest as a JSON object, with the versions of the reviews.

    Raises:
        DataError: the metadata of a quoted review is not JSON.

    >>> decode_digest(encode_digest(Digest("lamp", 2, 7, ()))).generation
    7
    """
    try:
        return orjson.dumps({**digest.to_dict(), "versions": dict(digest.versions)})
    except TypeError as error:
        raise DataError(
            f"the digest cannot be written: {error}",
            where=f"item {digest.item_id!r}",
            remedy="The metadata of a review may hold what JSON holds.",
        ) from error


def decode_digest(encoded: bytes | str) -> Digest:
    """Return the digest that `encode_digest` wrote."""
    tree = orjson.loads(encoded)
    return Digest(
        item_id=tree["item_id"],
        reviews=tree["reviews"],
        generation=tree["generation"],
        aspects=tuple(_aspect(aspect) for aspect in tree["aspects"]),
        versions=tree["versions"],
        copies=tree.get("copies", 0),
    )


def _aspect(tree: Mapping[str, Any]) -> Aspect:
    return Aspect(
        label=tree["label"],
        for_=tree["for"],
        against=tree["against"],
        support=tree["support"],
        share=tree["share"],
        quotes=tuple(Quote(**quote) for quote in tree["quotes"]),
    )
