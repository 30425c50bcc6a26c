"""The job: sources in batches, what changed encoded, written in one transaction, checkpointed."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import islice, repeat
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

import orjson

from indexing.checkpoint import Checkpoint, CheckpointFile, Counts, Seen
from indexing.interrupts import Interrupts
from indexing.passages import split
from indexing.rejects import RejectFile
from indexing.rows import Reject, Row
from indexing.sources import Sources, open_sources
from qa_system import __version__
from qa_system.config import PassageSettings, Settings
from qa_system.errors import JobError, StoreMismatchError, TooManyRejectsError
from qa_system.progress import progress
from qa_system.records import EncoderIdentity, Review

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.retrievers.encoders import Encoder
    from qa_system.stores.faiss import FAISSDocumentStore

__all__ = ["JobReport", "run_job", "state_folder"]

logger = logging.getLogger(__name__)

WITNESSES = 16
"""Reviews of the last batch by which an unfinished run knows its store again."""


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a run did, over all the runs that it took if it was resumed.

    Args:
        counts: of reviews and passages.
        seconds: that it took.
        resumed: rows of `counts.read` that an earlier, unfinished run had done.
        rejects_file: where the rejects are; None if there are none.
        store: where the reviews are.
        encoder: what embedded them; None if nothing did.
        made_with: versions and settings that the run was made with.
    """

    counts: Counts
    seconds: float
    resumed: int
    rejects_file: str | None
    store: str
    encoder: EncoderIdentity | None
    made_with: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON values, the counts on top."""
        return {
            **asdict(self.counts),
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
            "rejects_file": self.rejects_file,
            "store": self.store,
            "encoder": None if self.encoder is None else asdict(self.encoder),
            "made_with": self.made_with,
        }


def run_job(settings: Settings, *, stdin: IO[bytes] | None = None) -> JobReport:
    """Index the sources' reviews; run it again at any time, it does only what is left to do.

    A review that the store holds as it is in the source is left alone, by its content hash; one
    that changed is replaced. A run that was killed goes on from its checkpoint, if neither the
    sources nor the settings changed.

    Args:
        settings: `store`, `encoder` and `indexing`.
        stdin: what the source `-` reads; None takes the process's standard input.

    Raises:
        ConfigError: a source or a setting is wrong; nothing has been read.
        DataError: a source is damaged so that it cannot be read on.
        EncoderMismatchError: the store was filled by another encoder; nothing has been read.
        TooManyRejectsError: more rows were set aside than `indexing.max_rejects`.
        JobInterruptedError: a signal said so.
        StoreError: the store cannot be written.
    """
    # Haystack and the models take seconds to import: not for a fault that is found before.
    with Interrupts() as interrupts:
        sources = open_sources(settings.indexing, stdin)
        from qa_system.retrievers.encoders import load_encoder
        from qa_system.stores import open_store

        encoder = load_encoder(settings.encoder) if settings.indexing.embed else None
        similarity = None if encoder is None else encoder.identity.similarity
        with (
            open_store(settings.store, create=True, similarity=similarity) as store,
            CheckpointFile(state_folder(settings), _job_name(settings)) as state,
        ):
            _bind(store, encoder, settings.store.path)
            run = _Run(settings, sources, store, encoder, state, interrupts)
            return run.go()


def state_folder(settings: Settings) -> Path:
    """Tell where the checkpoints of a store's jobs are.

    >>> state_folder(Settings())
    PosixPath('qa-store/jobs')
    """
    if settings.indexing.state is not None:
        return Path(settings.indexing.state)
    return Path(settings.store.path) / "jobs"


def _job_name(settings: Settings) -> str:
    """Name a job after its sources and its store, so that the same command finds it again."""
    sources = [str(Path(source).absolute()) for source in settings.indexing.sources]
    store = str(Path(settings.store.path).absolute())
    digest = hashlib.sha256(orjson.dumps([sources, store])).hexdigest()[:8]
    stem = "".join(
        char if char.isalnum() else "-" for char in Path(settings.indexing.sources[0]).name
    )
    return f"{stem.strip('-')[:40] or 'job'}-{digest}"


def _bind(store: FAISSDocumentStore, encoder: Encoder | None, path: str) -> None:
    """Make sure that encoder and store belong together, before anything is read."""
    remedy = f"Embed them: qa-index embed --store {path} --encoder NAME"
    if encoder is None:
        if store.encoder is not None:
            raise StoreMismatchError(
                f"the store holds embeddings of {store.encoder.name!r}, and this job makes none",
                where=path,
                remedy="Run it without --no-embed, or name another store.",
            )
        return
    if store.encoder is None and store.count_documents():
        raise StoreMismatchError(
            "the store holds reviews without embeddings, which a dense search would never find",
            where=path,
            remedy=f"{remedy}; or go on with --no-embed.",
        )
    store.bind_encoder(encoder.identity)


@dataclass(frozen=True, slots=True)
class _Passage:
    """A document to be: part of a review, or the whole of it."""

    id: str
    content_hash: str
    start: int
    end: int


def _passages(review: Review, settings: PassageSettings) -> list[_Passage]:
    content_hash = review.content_hash
    spans = split(review.text, settings.max_words, settings.overlap_words)
    if len(spans) == 1:
        return [_Passage(review.id, content_hash, 0, len(review.text))]
    return [
        # The span is part of the hash, so that other passage settings are a change.
        _Passage(f"{review.id}#{number}", f"{content_hash}:{start}-{end}", start, end)
        for number, (start, end) in enumerate(spans)
    ]


class _Run:
    """One run of a job; `go` takes it from its checkpoint to its end."""

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        store: FAISSDocumentStore,
        encoder: Encoder | None,
        state: CheckpointFile,
        interrupts: Interrupts,
    ) -> None:
        self._settings = settings.indexing
        self._sources = sources
        self._store = store
        self._store_path = settings.store.path
        self._encoder = encoder
        self._state = state
        self._interrupts = interrupts
        self._start = monotonic()
        own_place = state.path.with_suffix(".rejects.jsonl")
        given = settings.indexing.rejects
        self._rejects_path = own_place if given is None else Path(given)
        self._checkpoint, self._attempted = self._resume()
        self._before = self._checkpoint

    def go(self) -> JobReport:
        """Do what is left to do."""
        with (
            RejectFile(self._rejects_path, self._checkpoint.rejects_bytes) as rejects,
            progress("indexing", unit="rows") as shown,
        ):
            for batch in self._batches():
                self._index(batch, rejects)
                shown.advance(len(batch), total=self._rows_in_all())
        if not self._checkpoint.counts.read:
            logger.warning("the sources held no rows")
        if self._settings.delete_missing:
            self._delete_missing()
        self._checkpoint = replace(self._checkpoint, seconds=self._seconds())
        self._state.finish(self._checkpoint)
        return self._report()

    def _resume(self) -> tuple[Checkpoint, set[str]]:
        """Take up the last run if it was not finished and everything is as it left it."""
        fingerprint = self._fingerprint()
        last = self._state.load()
        if last is not None and not last.finished and last.fingerprint == fingerprint:
            if self._still_holds(last):
                logger.info("resuming after %s rows", f"{last.counts.read:,}")
                return last, self._state.attempted()
            logger.info("the store or the reject file is not that of the last run: starting anew")
        fresh = Checkpoint(fingerprint)
        self._state.begin(fresh)
        return fresh, set()

    def _fingerprint(self) -> str:
        files = self._sources.fingerprint
        parts = [
            # What came by a pipe does not come again: such a run is never resumed.
            [monotonic(), id(self)] if files is None else files,
            self._settings.model_dump(
                include={"columns", "types", "max_text_chars", "passages"}, mode="json"
            ),
            None if self._encoder is None else asdict(self._encoder.identity),
            str(self._rejects_path.absolute()),
            str(Path(self._store_path).absolute()),
        ]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _still_holds(self, last: Checkpoint) -> bool:
        rejects = self._rejects_path.stat().st_size if self._rejects_path.exists() else 0
        stored = self._store.documents_of_reviews(last.last)
        return rejects >= last.rejects_bytes and all(stored.get(each) for each in last.last)

    def _batches(self) -> Iterator[list[Row]]:
        rows = self._sources.rows(self._checkpoint.position)
        while batch := list(islice(rows, self._settings.batch_size)):
            yield batch

    def _index(self, batch: list[Row], rejects: RejectFile) -> None:
        """Take a batch from rows to an acknowledged write and a moved checkpoint."""
        reviews, seen, rejected, duplicates = self._sort_out(batch)
        for reject in rejected:
            rejects.write(reject)
        counts = self._checkpoint.counts
        reasons = Counter(counts.reasons) + Counter(reject.reason for reject in rejected)
        self._check_rejects(counts.rejected + len(rejected), rejects)

        stored = self._store.documents_of_reviews([review.id for review in reviews])
        changed: list[tuple[Review, list[_Passage]]] = []
        stale: list[str] = []
        written: list[str] = []
        passages = 0
        for review in reviews:
            wanted = _passages(review, self._settings.passages)
            there = stored.get(review.id, {})
            is_changed = there != {passage.id: passage.content_hash for passage in wanted}
            if is_changed:
                changed.append((review, wanted))
                stale.extend(there.keys() - {passage.id for passage in wanted})
            if is_changed or review.id in self._attempted:
                # What was attempted and is there now was written just before a kill.
                written.append(review.id)
                passages += len(wanted)
        documents, truncated = self._documents(changed)

        with self._interrupts.held():
            self._state.attempt(self._attempted.union(written))
            if documents or stale:
                self._store.replace(documents, stale)
            self._checkpoint = replace(
                self._checkpoint,
                position=batch[-1].after,
                counts=Counts(
                    read=counts.read + len(batch),
                    written=counts.written + len(written),
                    unchanged=counts.unchanged + len(reviews) - len(written) + duplicates,
                    duplicates=counts.duplicates + duplicates,
                    rejected=counts.rejected + len(rejected),
                    passages=counts.passages + passages,
                    truncated=counts.truncated + truncated,
                    reasons=dict(reasons),
                ),
                seconds=self._seconds(),
                rejects_bytes=rejects.flush(),
                last=tuple(review.id for review in reviews[-WITNESSES:]) or self._checkpoint.last,
            )
            self._state.commit(self._checkpoint, seen)
        self._attempted.difference_update(written)

    def _sort_out(self, batch: list[Row]) -> tuple[list[Review], list[Seen], list[Reject], int]:
        """Part a batch into new reviews, what to remember of them, rejects, and repeated rows."""
        known = self._state.seen([row.record.id for row in batch if isinstance(row.record, Review)])
        reviews: list[Review] = []
        rejected: list[Reject] = []
        duplicates = 0
        for row in batch:
            file = self._sources.files[row.after.file].name
            record = row.record
            if isinstance(record, Reject):
                rejected.append(record)
                if record.review_id is not None:
                    # The source still has it, if badly: it is not to be deleted as missing.
                    known.setdefault(record.review_id, Seen(record.review_id, None, file, row.line))
                continue
            digest = hashlib.blake2b(
                f"{record.item_id}\0{record.text}".encode(), digest_size=16
            ).digest()
            first = known.get(record.id)
            if first is None or first.digest is None:
                known[record.id] = Seen(record.id, digest, file, row.line)
                reviews.append(record)
            elif first.digest == digest:
                duplicates += 1
            else:
                place = first.file if first.line is None else f"{first.file}, line {first.line}"
                detail = f"this id came with another text or item before: {place}"
                shown = orjson.dumps([record.id, record.item_id, record.text[:150]]).decode()
                rejected.append(Reject(file, row.line, "duplicate id", detail, shown, record.id))
        return reviews, list(known.values()), rejected, duplicates

    def _check_rejects(self, rejected: int, rejects: RejectFile) -> None:
        limit = self._settings.max_rejects
        if limit is not None and rejected > limit:
            rejects.flush()
            raise TooManyRejectsError(
                f"{rejected:,} rows were set aside, and max_rejects is {limit:,}",
                where=str(rejects.path),
                remedy="The file says why. Mend the source, or run the same command with a "
                "larger --max-rejects: it goes on where it stopped.",
            )

    def _documents(
        self, changed: Sequence[tuple[Review, list[_Passage]]]
    ) -> tuple[list[Document], int]:
        """Make documents with embeddings; tell how many the encoder could not read whole."""
        from haystack import Document

        texts = [review.text[each.start : each.end] for review, parts in changed for each in parts]
        vectors: Iterator[Any] = repeat(None)
        truncated = 0
        if self._encoder is not None and texts:
            before = self._encoder.truncated_passages
            vectors = iter(self._encoder.encode_passages(texts))
            truncated = self._encoder.truncated_passages - before
        documents = []
        for review, parts in changed:
            for passage in parts:
                own: dict[str, Any] = {
                    "review_id": review.id,
                    "item_id": review.item_id,
                    "content_hash": passage.content_hash,
                }
                if len(parts) > 1:
                    own["passage_start"] = passage.start
                documents.append(
                    Document(
                        id=passage.id,
                        content=review.text[passage.start : passage.end],
                        meta={**review.meta, **own},
                        embedding=next(vectors),
                    )
                )
        return documents, truncated

    def _delete_missing(self) -> None:
        """Delete the reviews that the sources, read to their end, hold no more."""
        counts = self._checkpoint.counts
        if not counts.written + counts.unchanged:
            if not self._store.count_documents():
                return
            raise JobError(
                "the sources held no review, and --delete-missing would empty the store",
                where=self._store_path,
                remedy="Check the sources. To empty a store, delete its folder.",
            )
        if counts.rejected:
            logger.warning(
                "%d rows were rejected; where their id could not be read, their reviews count "
                "as missing",
                counts.rejected,
            )
        deleted = self._state.find_missing(self._stored_ids())
        # Of what an earlier run was about to delete, only the rest is found now.
        deleted = max(deleted, counts.deleted)
        self._checkpoint = replace(self._checkpoint, counts=replace(counts, deleted=deleted))
        self._state.commit(self._checkpoint, ())
        for documents in self._state.missing_documents(self._settings.batch_size):
            with self._interrupts.held():
                self._store.replace([], documents)

    def _stored_ids(self) -> Iterator[list[tuple[str, str]]]:
        # Documents that another program wrote belong to no review: they are none of ours.
        ids = (pair for pair in self._store.iter_ids() if pair[1] is not None)
        while batch := list(islice(ids, self._settings.batch_size)):
            yield batch

    def _seconds(self) -> float:
        return self._before.seconds + monotonic() - self._start

    def _rows_in_all(self) -> int | None:
        """Estimate the rows of this run from how far they brought it through the files."""
        began = self._sources.share(self._before.position)
        share = self._sources.share(self._checkpoint.position) - began
        rows = self._checkpoint.counts.read - self._before.counts.read
        return round(rows * (1 - began) / share) if share > 0 else None

    def _report(self) -> JobReport:
        counts = self._checkpoint.counts
        return JobReport(
            counts=counts,
            seconds=self._checkpoint.seconds,
            resumed=self._before.counts.read,
            rejects_file=str(self._rejects_path) if counts.rejected else None,
            store=self._store_path,
            encoder=None if self._encoder is None else self._encoder.identity,
            made_with={
                "qa_system": __version__,
                "haystack": version("haystack-ai"),
                "python": platform.python_version(),
                "sources": [file.name for file in self._sources.files],
                "indexing": self._settings.model_dump(mode="json"),
            },
        )
