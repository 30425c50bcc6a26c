"""Where a job keeps what it remembers, and by which name."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson

from qa_system.config import Settings

if TYPE_CHECKING:
    from qa_system.retrievers.encoders import Encoder
    from qa_system.sources.files import Sources

__all__ = ["fingerprint_of", "job_name", "state_folder"]


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


def fingerprint_of(
    settings: Settings,
    sources: Sources,
    encoder: Encoder | None,
    rejects_path: Path,
    *,
    rebuild: bool,
) -> str:
    """Digest what decides whether a run can go on where another ended."""
    indexing, store = settings.indexing, settings.store
    parts = [
        # What came by a pipe does not come again: such a run is never resumed.
        sources.fingerprint or uuid4().hex,
        indexing.model_dump(
            include={
                *("columns", "item", "encoding", "types", "misfits"),
                *("max_text_chars", "passages"),
            },
            mode="json",
        ),
        None if encoder is None else asdict(encoder.identity),
        str(rejects_path.absolute()),
        settings.store.unique_place,
        store.model_dump(include={"index_options", "shards", "similarity"}) if rebuild else None,
    ]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
