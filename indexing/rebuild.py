"""A store built anew beside the one that is read, and put in its place when it is whole.

Only a server's store has versions: a name, behind which one of several indexes stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from qa_system.config import AnyStoreSettings
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from indexing.checkpoint import Checkpoint
    from qa_system.records import EncoderIdentity
    from qa_system.stores.contract import ReviewStore
    from qa_system.stores.elasticsearch import ElasticsearchReviewStore

__all__ = ["RolledBack", "check_has_versions", "next_version", "promote", "roll_back", "versioned"]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    Args:
        store: which one.
        index: the version that is read now.
        former: the one that was read before; it is kept.
    """

    store: str
    index: str
    former: str | None


def check_has_versions(settings: AnyStoreSettings) -> None:
    """Refuse a store that cannot be built anew beside itself.

    Raises:
        ConfigError: saying what to do instead.

    >>> from qa_system.config import StoreSettings
    >>> check_has_versions(StoreSettings(path="qa-store"))
    Traceback (most recent call last):
        ...
    qa_system.errors.ConfigError: the embedded store has no versions, ... (qa-store). Index into ...
    """
    if not settings.has_versions:
        raise ConfigError(
            "the embedded store has no versions, so it is neither rebuilt nor rolled back in place",
            where=settings.place,
            remedy="Index into a folder of another name, qa-index run --store FOLDER, and let the "
            "readers open that; keep the old folder as long as you may want to go back.",
        )
    from qa_system.stores.elastic.versions.aliases import base_of

    if base_of(settings.index) != settings.index:
        raise ConfigError(
            "store.index is a version; only the name that it stands behind can be given another",
            where=settings.place,
            remedy=f"Set store.index to {base_of(settings.index)!r}.",
        )


def versioned(store: ReviewStore) -> ElasticsearchReviewStore:
    """Take a store, of which `check_has_versions` has seen the settings, for what it is."""
    return cast("ElasticsearchReviewStore", store)


def next_version(
    store: ElasticsearchReviewStore, last: Checkpoint | None, encoder: EncoderIdentity | None
) -> ElasticsearchReviewStore:
    """Open the version that a rebuild fills; nobody reads it yet.

    Args:
        store: by the name that is read.
        last: how far an interrupted rebuild of the same sources has come, whose version is taken
            up if it is still there; None begins another.
        encoder: that makes its embeddings; None: it has none.
    """
    left = None if last is None else last.version
    return store.new_version(resume=left or False, encoder=encoder)


def promote(
    store: ElasticsearchReviewStore, built: ElasticsearchReviewStore, documents: int
) -> None:
    """Check a version that was built, and let it be read instead of the one before.

    Args:
        store: by the name that is read.
        built: the version.
        documents: that it must have: those of all rows read but the rejected ones.

    Raises:
        StoreError: it is not what was written; what was read is still read.
    """
    store.promote(built, expected=documents)


def roll_back(settings: AnyStoreSettings) -> RolledBack:
    """Let the version before the last rebuild be read again.

    Args:
        settings: of the store.

    Raises:
        ConfigError: the store has no versions.
        StoreNotFoundError: there is no earlier version, or no store.
    """
    check_has_versions(settings)
    from qa_system.stores import open_store

    with versioned(open_store(settings)) as store:
        former = store.status().index
        return RolledBack(settings.place, store.rollback(), former)
