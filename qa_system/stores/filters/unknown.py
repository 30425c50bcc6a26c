"""Fields of a filter that no document has: most often a name that was misspelt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from qa_system.review_ids import COPY_OF
from qa_system.stores.filters.tree import Node, comparisons

__all__ = ["UnknownFields"]

log = logging.getLogger(__name__)

MOST_REMEMBERED: Final = 1_000
"""Fields; whoever makes up names does not make the store look for each of them."""


class UnknownFields:
    """Warns of each unknown field of one store once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def look(
        self, tree: Node, has: Callable[[Node], bool], names: Callable[[], Iterable[str]]
    ) -> None:
        """Warn of the fields in a filter that no document has.

        Args:
            tree: what the filter says.
            has: tells whether a filter selects a document.
            names: returns the fields that documents have; none: there are no documents.
        """
        for each in comparisons(tree):
            is_new = each.column == "meta" and each.keys and each.keys not in self._seen
            # A store without copies has no such field, and the filter is right all the same.
            if not is_new or each.keys == (COPY_OF,) or len(self._seen) >= MOST_REMEMBERED:
                continue
            if has(replace(each, operator="in", values=(None,), is_negated=True)):
                self._seen.add(each.keys)
            elif there := sorted(names()):
                self._seen.add(each.keys)
                _warn(each.keys, there)


def _warn(keys: tuple[str, ...], there: list[str]) -> None:
    name = ".".join(keys)
    near = get_close_matches(name, there, n=3) or get_close_matches(keys[0], there, n=3)
    told = f"did you mean {' or '.join(map(repr, near))}?" if near else _listed(there)
    log.warning("the filter names %r, and no document has such metadata: %s", name, told)


def _listed(there: list[str]) -> str:
    more = f" and {len(there) - 12} more" if len(there) > 12 else ""
    return f"there is {', '.join(map(repr, there[:12]))}{more}"
