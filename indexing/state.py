"""Where a job keeps what it remembers, and by which name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from qa_system.config import Settings, StoreSettings
from qa_system.stores.layout import JOBS

__all__ = ["job_name", "state_folder", "unique_place"]


def state_folder(settings: Settings) -> Path:
    """Tell where the checkpoints of a store's jobs are.

    A server keeps no files of ours: there it is a folder below the working one, and a job that is
    to be resumed is started in the same folder, or with `indexing.state`.

    >>> state_folder(Settings())
    PosixPath('qa-store/jobs')
    >>> state_folder(Settings.model_validate({"store": {"type": "elasticsearch"}}))
    PosixPath('.qa-index/localhost-9200-reviews')
    """
    if settings.indexing.state is not None:
        return Path(settings.indexing.state)
    store = settings.store
    if isinstance(store, StoreSettings):
        return Path(store.path) / JOBS
    address = urlsplit(store.url.split(",")[0].strip())
    port = "" if address.port is None else f"-{address.port}"
    return Path(".qa-index") / f"{address.hostname}{port}-{store.index}"


def job_name(settings: Settings, *, rebuild: bool = False) -> str:
    """Name a job after its sources and its store, so that the same command finds it again."""
    sources = [str(Path(source).absolute()) for source in settings.indexing.sources]
    digest = hashlib.sha256(orjson.dumps([sources, unique_place(settings)])).hexdigest()[:8]
    stem = "".join(
        char if char.isalnum() else "-" for char in Path(settings.indexing.sources[0]).name
    )
    suffix = "-rebuild" if rebuild else ""
    return f"{stem.strip('-')[:40] or 'job'}-{digest}{suffix}"


def unique_place(settings: Settings) -> str:
    """Name the store so that no other has the same name."""
    if isinstance(settings.store, StoreSettings):
        return str(Path(settings.store.path).absolute())
    return settings.store.place
