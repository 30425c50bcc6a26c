"""The job that keeps the digests of a store's items up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from indexing.interrupts import Interrupts
from qa_system.answering.finding import refuse_unknown
from qa_system.console.progress import progress
from qa_system.digests.versions import is_stale

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.aspects.digesting import Digester
    from qa_system.aspects.finding import Embed
    from qa_system.aspects.phrases import Catalogue
    from qa_system.config import Settings
    from qa_system.digests.records import Digest
    from qa_system.stores.contract import ReviewStore

__all__ = ["Digested", "catalogue_of", "digest_items", "digest_store", "drop_orphans", "item_ids"]

SAMPLED: Final = 5_000
"""Reviews from which it is learned how a store's reviews use words."""
PAGE: Final = 10_000


@dataclass(slots=True)
class Digested:
    """What came of a job.

    Args:
        made: digests that were made, for the first time or anew.
        fresh: digests that were left as they were, for their reviews hardly changed.
        removed: digests of items that have no reviews any more.
    """

    made: int = 0
    fresh: int = 0
    removed: int = 0


def digest_store(
    store: ReviewStore,
    settings: Settings,
    items: Sequence[str] | None,
    *,
    min_reviews: int,
    anew: bool,
) -> Digested:
    """Bring digests up to date, and show the progress.

    Args:
        store: the store.
        settings: its place, the judge's and the encoder's.
        items: their ids; None: all items, and digests of items that are gone are removed.
        min_reviews: of an item with fewer reviews, the digest has no aspects.
        anew: make fresh ones, too.

    Raises:
        ModelError: the judge or the encoder cannot be loaded.
        UnknownItemError: the store has no review of an item; those before it are done.
        JobInterruptedError: a signal came; what was made is kept.
    """
    from qa_system.aspects.digesting import Digester
    from qa_system.judging import Judge

    judge = Judge(**settings.judge.model_dump(exclude={"sentences"}))
    judge.warm_up()
    known = item_ids(store)
    digester = Digester(
        judge,
        _embed(settings),
        catalogue_of(store, known),
        min_reviews=min_reviews,
        snippet_chars=settings.reader.snippet_chars,
    )
    chosen = known if items is None else list(dict.fromkeys(items))
    with progress("digesting", unit="items", total=len(chosen)) as shown:
        done = digest_items(
            store,
            digester,
            chosen,
            place=settings.store.place,
            anew=anew,
            on_item=shown.advance,
        )
    if items is None:
        done.removed = drop_orphans(store, known)
    return done


def item_ids(store: ReviewStore) -> list[str]:
    """Return the items of a store, in order."""
    found: list[str] = []
    for start in range(0, store.count_items(), PAGE):
        page, _ = store.get_metadata_field_unique_values("meta.item_id", None, start, PAGE)
        found += [each for each in page if isinstance(each, str)]
    return found


def catalogue_of(store: ReviewStore, items: Sequence[str]) -> Catalogue:
    """Learn from a sample of a store how its reviews use words.

    Args:
        store: the store.
        items: all of its items; the sample is of some, spread evenly over them.
    """
    from qa_system.aspects.phrases import Catalogue

    found = Catalogue()
    for item in _spread(items):
        for document in _documents(store, item)[: SAMPLED - found.reviews]:
            found.add(document.content or "")
        if found.reviews >= SAMPLED:
            break
    return found


def digest_items(
    store: ReviewStore,
    digester: Digester,
    items: Iterable[str],
    *,
    place: str,
    anew: bool = False,
    on_item: Callable[[], Any] = lambda: None,
) -> Digested:
    """Make the digests that are missing or stale, each in a write of its own.

    If it is interrupted, the next call goes on: what is made is fresh.

    Args:
        store: the store.
        digester: makes them.
        items: their ids.
        place: the store's, for errors.
        anew: make the fresh ones, too.
        on_item: called when an item is done.

    Raises:
        UnknownItemError: the store has no review of an item; those before it are done.
        JobInterruptedError: a signal came; what was made is kept.
    """
    done = Digested()
    with Interrupts() as interrupts:
        for item in items:
            known = None if anew else store.get_digest(item)
            if known is not None and not is_stale(
                known, store.reviews_of_items([item]).get(item, {})
            ):
                done.fresh += 1
            else:
                _make(store, digester, item, place, interrupts)
                done.made += 1
            on_item()
    return done


def drop_orphans(store: ReviewStore, items: Iterable[str]) -> int:
    """Delete the digests of items that have no reviews any more, and return their number.

    Args:
        store: the store.
        items: those that have reviews.
    """
    there = set(items)
    gone = [each.item_id for each in store.iter_digests() if each.item_id not in there]
    return store.delete_digests(gone) if gone else 0


def _make(
    store: ReviewStore, digester: Digester, item: str, place: str, interrupts: Interrupts
) -> None:
    """Make and write the digest of an item; none stays that quotes what was erased meanwhile."""
    while True:
        generation = store.generation
        documents = _documents(store, item)
        if not documents:
            refuse_unknown(store, item, place)
        digest = digester.digest(item, documents, generation)
        if not _is_there(store, digest):
            continue
        with interrupts.held():
            store.write_digest(digest)
            # Whoever erases a review deletes the digests that are there; this one may have been
            # written after that.
            if _is_there(store, digest):
                return
            store.delete_digests([item])


def _is_there(store: ReviewStore, digest: Digest) -> bool:
    """Tell whether the store still has all reviews that a digest is of."""
    there = store.reviews_of_items([digest.item_id]).get(digest.item_id, {})
    return digest.versions.keys() <= there.keys()


def _embed(settings: Settings) -> Embed | None:
    """Return what embeds phrases; None where reviews are found by their words alone."""
    if settings.retriever.mode == "bm25":
        return None
    from qa_system.retrievers.encoders import shared_encoder

    encoder = shared_encoder(settings.encoder)
    return lambda phrases: encoder.encode_passages(phrases, [None] * len(phrases))


def _documents(store: ReviewStore, item: str) -> list[Document]:
    return store.filter_documents({"field": "meta.item_id", "operator": "==", "value": item})


def _spread(items: Sequence[str]) -> Iterable[str]:
    """Yield all items: first those that are far from each other in their order."""
    step = 1 << max(len(items) - 1, 0).bit_length()
    seen_every = None
    while step >= 1:
        for at in range(0, len(items), step):
            if seen_every is None or at % seen_every:
                yield items[at]
        seen_every, step = step, step // 2
