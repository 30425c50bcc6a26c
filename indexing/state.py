"""Where a job keeps what it remembers, and by which name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson

from qa_system.config import Settings

__all__ = ["job_name", "state_folder"]


def state_folder(settings: Settings) -> Path:
    """Tell where the checkpoints of a store's jobs are.

    A server keeps no files of ours: there it is a folder below the working one, and a job that is
    to be resumed is started in the same folder, or with `indexing.state`.

    >>> state_folder(Settings())
    PosixPath('qa-store/jobs')
    >>> state_folder(Settings.model_validate({"store": {"type": "elasticsearch"}}))
    PosixPath('.qa-index/localhost-9200-reviews')
    """
    given = settings.indexing.state
    return settings.store.jobs if given is None else Path(given)


def job_name(settings: Settings, *, rebuild: bool = False) -> str:
    """Name a job after its sources and its store, so that the same command finds it again."""
    sources = [str(Path(source).absolute()) for source in settings.indexing.sources]
    digest = hashlib.sha256(orjson.dumps([sources, settings.store.unique_place])).hexdigest()[:8]
    stem = "".join(
        char if char.isalnum() else "-" for char in Path(settings.indexing.sources[0]).name
    )
    suffix = "-rebuild" if rebuild else ""
    return f"{stem.strip('-')[:40] or 'job'}-{digest}{suffix}"
