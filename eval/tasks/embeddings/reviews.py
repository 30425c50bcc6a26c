"""Reviews from wherever they are: files, a store, the bundled sample."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from qa_system.console.wording import counted
from qa_system.errors import DataError
from qa_system.records import Review

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["read_reviews"]

log = logging.getLogger(__name__)
T = TypeVar("T")

STORE: Final = "store:"
CHUNK: Final = 1000


def read_reviews(
    sources: Sequence[str], settings: Settings, *, most: int, seed: int = 13
) -> tuple[list[Review], int]:
    """Read reviews, each id once; of many, a sample.

    Args:
        sources: files, folders or globs, as `qa-index run --source` takes them; or `store:NAME`,
            `store:` for the store in the settings; none: the bundled sample.
        settings: `indexing` says how files are read, `store` which kind of store it is.
        most: so many at most; more are sampled at random.
        seed: of the sample.

    Returns:
        The reviews in the order of the source, and how many it has.

    Raises:
        ConfigError: a file has not the columns needed.
        DataError: a source is missing, cannot be read, or has no review.
    """
    if not sources:
        from eval.datasets import load_dataset
        from qa_system.models.locate import SAMPLE

        return _sampled(load_dataset(SAMPLE).reviews, most, seed)
    stored = [source for source in sources if source.startswith(STORE)]
    if not stored:
        return _sampled(list(_of_files(sources, settings)), most, seed)
    if len(sources) > 1:
        raise DataError(
            f"{stored[0]!r} stands beside other sources",
            remedy="Name one store, or files alone.",
        )
    return _of_store(stored[0].removeprefix(STORE), settings, most, seed)


def _of_files(sources: Sequence[str], settings: Settings) -> Iterator[Review]:
    from qa_system.sources.files import open_sources

    indexing = settings.indexing.model_copy(update={"sources": tuple(sources)})
    seen: set[str] = set()
    left_out = 0
    for row in open_sources(indexing).rows():
        if not isinstance(row.record, Review):
            left_out += 1
            log.warning("%s, row %s: %s", row.record.file, row.record.line, row.record.detail)
        elif row.record.id not in seen:
            seen.add(row.record.id)
            yield row.record
    if left_out:
        log.warning("%s left out: none of them is a review", counted(left_out, "row"))


def _of_store(name: str, settings: Settings, most: int, seed: int) -> tuple[list[Review], int]:
    from qa_system.stores import open_store

    place = settings.store.named(name) if name else settings.store
    with open_store(place) as opened:
        known = [review_id for review_id, _ in opened.iter_ids()]
        ids, count = _sampled(known, most, seed)
        found: list[Review] = []
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            named = {"field": "meta.review_id", "operator": "in", "value": chunk}
            found += [
                Review(
                    str(document.meta["review_id"]),
                    str(document.meta["item_id"]),
                    document.content or "",
                    document.meta,
                )
                for document in opened.filter_documents(named)
            ]
    return found, count


def _sampled(whole: Sequence[T], most: int, seed: int) -> tuple[list[T], int]:
    if not whole:
        raise DataError("the source has no review", remedy="Name another source.")
    draw = np.random.default_rng(seed)
    kept = np.sort(draw.permutation(len(whole))[:most])
    return [whole[at] for at in kept], len(whole)
