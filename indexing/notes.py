"""What jobs note in a store, so that the next one goes on in the same way.

Several jobs may fill one store, from several machines: so it is kept with the store.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from qa_system.errors import StoreMismatchError
from qa_system.review_ids import ID_RECIPE
from qa_system.sources.values import Kind

if TYPE_CHECKING:
    from qa_system.config import IndexingSettings
    from qa_system.stores.contract import ReviewStore

__all__ = ["Notes", "described", "split_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notes:
    """What jobs have noted.

    Args:
        recipe: by which ids are derived; a store that version 0.1 filled keeps the first.
        types: of the metadata columns.
        columns: that the last job took each field from.
        passages: how the last job split reviews, as `PassageSettings`; None: that is not known.
    """

    recipe: int = ID_RECIPE
    types: Mapping[str, Kind] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    passages: Mapping[str, int | None] | None = None

    @classmethod
    def of(cls, store: ReviewStore, where: str) -> Notes:
        """Read the notes of a store; an empty one has none.

        Args:
            store: the store.
            where: it is, for messages.

        Raises:
            StoreMismatchError: a newer version has filled it.
        """
        if not store.count_documents():
            return cls()
        kept = store.notes()
        recipe = kept.get("recipe")
        if recipe is None:
            with closing(store.iter_ids()) as ids:
                has_reviews = any(review is not None for _, review in ids)
            recipe = 1 if has_reviews else ID_RECIPE
        if recipe > ID_RECIPE:
            raise StoreMismatchError(
                f"ids are derived by recipe {recipe} in this store, and this version knows "
                f"{ID_RECIPE}",
                where=where,
                remedy="Use the version of qa-system that filled it.",
            )
        kinds = get_args(Kind)
        types = {name: kind for name, kind in kept.get("types", {}).items() if kind in kinds}
        if recipe == 1:
            # Version 0.1 took the cells of CSV files as they are.
            types |= {"review_id": "text", "item_id": "text"}
        return cls(recipe, types, kept.get("columns", {}), kept.get("passages"))

    def to_dict(self) -> dict[str, Any]:
        """Return the notes as a store keeps them."""
        return asdict(self)

    def compare(self, columns: Mapping[str, Sequence[str]], settings: IndexingSettings) -> None:
        """Warn of what a job does otherwise than the last one.

        Args:
            columns: the columns that it takes each field from.
            settings: of the job.
        """
        split = split_of(settings)
        if self.passages is not None and self.passages != split:
            logger.warning(
                "this job %s, and the last job on this store %s: all its reviews are written anew",
                described(split),
                described(self.passages),
            )
        if self.columns and columns:
            for name in sorted({*self.columns, *columns}):
                before, now = self.columns.get(name, ()), columns.get(name, ())
                if set(before) != set(now):
                    logger.warning(
                        "%s is taken from %s now, and was from %s in the last job on this store: "
                        "the same reviews may be stored otherwise, or twice",
                        name,
                        _listed(now),
                        _listed(before),
                    )
        for name, kind in settings.types.items():
            if self.types.get(name, kind) != kind:
                logger.warning(
                    "%s is declared a %s, and was a %s in this store: reviews that are not indexed "
                    "again keep that",
                    name,
                    kind,
                    self.types[name],
                )


def _listed(columns: Sequence[str]) -> str:
    return " and ".join(map(repr, sorted(columns))) or "no column"


def split_of(settings: IndexingSettings) -> dict[str, int | None]:
    """Return how a job splits reviews, as it is noted."""
    passages = settings.passages
    is_split = passages.max_words is not None
    overlap = passages.overlap_words if is_split else None
    return {"max_words": passages.max_words, "overlap_words": overlap}


def described(passages: Mapping[str, int | None]) -> str:
    """Say how reviews are split.

    >>> described({"max_words": 60, "overlap_words": 20})
    'splits reviews into passages of 60 words, 20 of them shared'
    >>> described({"max_words": None, "overlap_words": None})
    'does not split reviews'
    """
    if passages.get("max_words") is None:
        return "does not split reviews"
    words, shared = passages["max_words"], passages["overlap_words"]
    return f"splits reviews into passages of {words} words, {shared} of them shared"
