"""The job: sources in batches, what changed encoded, written, checkpointed."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING
from uuid import uuid4

import orjson

from indexing.changes import Changed, Written, documents_of
from indexing.checkpoint import Checkpoint, CheckpointFile, Counts, Seen
from indexing.interrupts import Interrupts
from indexing.rebuild import check_has_versions, next_version, promote, versioned
from indexing.rejects import RejectFile
from indexing.report import JobReport
from indexing.rows import Reason, Reject, Row
from indexing.sources import Sources, open_sources
from indexing.state import job_name, state_folder
from qa_system import __version__
from qa_system.config import Settings
from qa_system.console.progress import progress
from qa_system.errors import JobError, StoreMismatchError, TooManyRejectsError
from qa_system.records import Review

if TYPE_CHECKING:
    from qa_system.retrievers.encoders import Encoder
    from qa_system.stores.contract import ReviewStore

__all__ = ["run_job"]

logger = logging.getLogger(__name__)

WITNESSES = 16
"""Reviews of the last batch by which an unfinished run knows its store again."""
REFUSED: Reason = "refused by the store"


def run_job(
    settings: Settings, *, rebuild: bool = False, stdin: IO[bytes] | None = None
) -> JobReport:
    """Index the sources' reviews; run it again at any time, it does only what is left to do.

    A review that the store holds as it is in the source is left alone, by its content hash; one
    that changed is replaced; one that the store refuses is set aside. A run that was killed goes
    on from its checkpoint, if neither the sources nor the settings changed. A server that does not
    answer is waited for (`store.bulk.retry_for`).

    Args:
        settings: `store`, `encoder` and `indexing`.
        rebuild: write everything into a new version of the store, check it, and only then let it
            be read in place of the old one.
        stdin: what the source `-` reads; None takes the process's standard input.

    Raises:
        ConfigError: a source or a setting is wrong; nothing has been read.
        DataError: a source is damaged so that it cannot be read on.
        EncoderMismatchError: the store was filled by another encoder; nothing has been read.
        TooManyRejectsError: more rows were set aside than `indexing.max_rejects`.
        JobInterruptedError: a signal said so.
        StoreError: the store cannot be written, or what a rebuild has built is not whole.
    """
    if rebuild:
        check_has_versions(settings.store)
    # Haystack and the models take seconds to import: not for a error that is found before.
    with Interrupts() as interrupts:
        sources = open_sources(settings.indexing, stdin)
        from qa_system.retrievers.encoders import load_encoder
        from qa_system.stores import open_store

        encoder = load_encoder(settings.encoder) if settings.indexing.embed else None
        if encoder is not None and encoder.identity.question_hash is None:
            logger.warning(
                "%s encodes passages only, and encoder.question_model names no partner: the store "
                "will take questions by any encoder",
                settings.encoder.model,
            )
        similarity = None if encoder is None else encoder.identity.similarity
        with (
            open_store(settings.store, create=True, similarity=similarity) as store,
            CheckpointFile(state_folder(settings), job_name(settings, rebuild=rebuild)) as state,
        ):
            own_place = state.path.with_suffix(".rejects.jsonl")
            given = settings.indexing.rejects
            rejects_path = own_place if given is None else Path(given)
            fingerprint = _fingerprint(settings, sources, encoder, rejects_path, rebuild=rebuild)
            job = _Job(settings, sources, encoder, state, interrupts, rejects_path, fingerprint)
            if not rebuild:
                return _Run(job, store).go()
            aliased = versioned(store)
            identity = None if encoder is None else encoder.identity
            with next_version(aliased, job.unfinished(), identity) as built:
                run = _Run(job, built, built.index)
                return run.go(lambda documents: promote(aliased, built, documents))


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done, whatever store it is done to."""

    settings: Settings
    sources: Sources
    encoder: Encoder | None
    state: CheckpointFile
    interrupts: Interrupts
    rejects_path: Path
    fingerprint: str

    def unfinished(self) -> Checkpoint | None:
        """Return the checkpoint of the last run, if that was of the same job and has not ended."""
        last = self.state.load()
        is_same = last is not None and not last.finished and last.fingerprint == self.fingerprint
        return last if is_same else None


def _fingerprint(
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
            include={"columns", "types", "max_text_chars", "passages"}, mode="json"
        ),
        None if encoder is None else asdict(encoder.identity),
        str(rejects_path.absolute()),
        settings.store.unique_place,
        store.model_dump(include={"index_options", "shards", "similarity"}) if rebuild else None,
    ]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _bind(store: ReviewStore, encoder: Encoder | None, settings: Settings) -> None:
    """Make sure that encoder and store belong together, before anything is read."""
    path = settings.store.place
    remedy = f"Embed them: qa-index reembed --store {path} --encoder-model NAME"
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


def _rejected(review: Review, file: str, line: int | None, reason: Reason, detail: str) -> Reject:
    shown = orjson.dumps([review.id, review.item_id, review.text[:150]]).decode()
    return Reject(file, line, reason, detail, shown, review.id)


class _Run:
    """One run of a job; `go` takes it from its checkpoint to its end."""

    def __init__(self, job: _Job, store: ReviewStore, version: str | None = None) -> None:
        self._settings = job.settings.indexing
        self._sources = job.sources
        self._store = store
        self._store_path = job.settings.store.place
        self._place = job.settings.store
        self._batch_size = self._settings.batch_size or self._place.rows_at_once
        self._version = version
        self._encoder = job.encoder
        self._embed_title = job.settings.encoder.embed_title
        self._state = job.state
        self._interrupts = job.interrupts
        self._rejects_path = job.rejects_path
        self._start = monotonic()
        from qa_system.stores.writes import WriteReport

        self._writing = WriteReport()
        # What a job that was killed has written is to be found before it is looked for.
        store.settle()
        _bind(store, job.encoder, job.settings)
        self._checkpoint, self._attempted = self._resume(job)
        self._before = self._checkpoint

    def go(self, promote: Callable[[int], None] | None = None) -> JobReport:
        """Do what is left to do.

        Args:
            promote: lets the version that was filled be read, if it has so many documents.
        """
        with (
            RejectFile(self._rejects_path, self._checkpoint.rejects_bytes) as rejects,
            self._store.loading(),
            progress("indexing", unit="rows") as shown,
        ):
            for batch in self._batches():
                self._index(batch, rejects)
                shown.advance(len(batch), total=self._rows_in_all())
        counts = self._checkpoint.counts
        if not counts.read:
            logger.warning("the sources held no rows")
        if promote is not None:
            promote(counts.written)
        elif self._settings.delete_missing:
            self._delete_missing()
        self._checkpoint = replace(self._checkpoint, seconds=self._seconds())
        self._state.finish(self._checkpoint)
        self._log_writing()
        return self._report()

    def _resume(self, job: _Job) -> tuple[Checkpoint, set[str]]:
        """Take up the last run if it was not finished and everything is as it left it."""
        last = job.unfinished()
        if last is not None:
            if last.version == self._version and self._still_holds(last):
                logger.info("resuming after %s rows", f"{last.counts.read:,}")
                return last, self._state.attempted()
            logger.info("the store or the reject file is not that of the last run: starting anew")
        fresh = Checkpoint(job.fingerprint, version=self._version)
        self._state.begin(fresh)
        return fresh, set()

    def _still_holds(self, last: Checkpoint) -> bool:
        rejects = self._rejects_path.stat().st_size if self._rejects_path.exists() else 0
        stored = self._store.documents_of_reviews(last.last)
        return rejects >= last.rejects_bytes and all(stored.get(each) for each in last.last)

    def _batches(self) -> Iterator[list[Row]]:
        rows = self._sources.rows(self._checkpoint.position)
        while batch := list(islice(rows, self._batch_size)):
            yield batch

    def _index(self, batch: list[Row], rejects: RejectFile) -> None:
        """Take a batch from rows to an acknowledged write and a moved checkpoint."""
        reviews, known, rejected, duplicates = self._sort_out(batch)
        by_id = {review.id: review for review in reviews}
        for reject in rejected:
            rejects.write(reject)
        counts = self._checkpoint.counts
        reasons = Counter(counts.reasons) + Counter(reject.reason for reject in rejected)
        self._check_rejects(counts.rejected + len(rejected), rejects)

        stored = self._store.documents_of_reviews([review.id for review in reviews])
        changed: list[Changed] = []
        stale: list[str] = []
        written: dict[str, int] = {}
        for review in reviews:
            each = Changed.of(review, self._settings.passages)
            there = stored.get(review.id, {})
            is_changed = there != {review.id: each.content_hash}
            if is_changed:
                changed.append(each)
                stale.extend(there.keys() - {review.id})
            if is_changed or review.id in self._attempted:
                # What was attempted and is there now was written just before a kill.
                written[review.id] = len(each.spans)
        made = documents_of(changed, self._encoder, embed_title=self._embed_title)

        # A transaction is waited for; a server, which may be away for minutes, is not.
        with nullcontext() if self._place.is_server else self._interrupts.held():
            self._state.attempt(self._attempted.union(written))
            refused = self._write(made, stale)
            for review_id, reason in refused.items():
                seen = known[review_id]
                known[review_id] = seen._replace(digest=None)
                rejects.write(_rejected(by_id[review_id], seen.file, seen.line, REFUSED, reason))
            reasons.update([REFUSED] * len(refused))
            self._check_rejects(counts.rejected + len(rejected) + len(refused), rejects)
            kept = [review for review in reviews if review.id not in refused]
            done = [review for review in kept if review.id in written]
            self._checkpoint = replace(
                self._checkpoint,
                position=batch[-1].after,
                counts=Counts(
                    read=counts.read + len(batch),
                    written=counts.written + len(done),
                    unchanged=counts.unchanged + len(kept) - len(done) + duplicates,
                    duplicates=counts.duplicates + duplicates,
                    rejected=counts.rejected + len(rejected) + len(refused),
                    passages=counts.passages + sum(written[review.id] for review in done),
                    truncated=counts.truncated + made.truncated,
                    reasons=dict(reasons),
                ),
                seconds=self._seconds(),
                rejects_bytes=rejects.flush(),
                last=tuple(each.id for each in kept[-WITNESSES:]) or self._checkpoint.last,
            )
            self._state.commit(self._checkpoint, known.values())
        self._attempted.difference_update(written)

    def _write(self, made: Written, stale: Sequence[str]) -> dict[str, str]:
        """Write a batch; return the reviews that the store refused, with its reasons."""
        if not made.documents and not stale:
            return {}
        report = self._store.replace(made.documents, stale, made.passages)
        self._writing.add(report)
        self._writing.seconds += report.seconds
        return {one.id: one.reason for one in report.rejected}

    def _sort_out(
        self, batch: list[Row]
    ) -> tuple[list[Review], dict[str, Seen], list[Reject], int]:
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
            digest = record.digest
            first = known.get(record.id)
            if first is None or first.digest is None:
                known[record.id] = Seen(record.id, digest, file, row.line)
                reviews.append(record)
            elif first.digest == digest:
                duplicates += 1
            else:
                place = first.file if first.line is None else f"{first.file}, line {first.line}"
                detail = f"this id came with another text or item before: {place}"
                rejected.append(_rejected(record, file, row.line, "duplicate id", detail))
        return reviews, known, rejected, duplicates

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

    def _delete_missing(self) -> None:
        """Delete the reviews that the sources, read to their end, hold no more."""
        counts = self._checkpoint.counts
        if not counts.written + counts.unchanged:
            if not self._store.count_documents():
                return
            raise JobError(
                "the sources held no review, and --delete-missing would empty the store",
                where=self._store_path,
                remedy=f"Check the sources. To empty a store, delete its {self._place.kept_as}.",
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
        for documents in self._state.missing_documents(self._batch_size):
            with self._interrupts.held():
                self._store.replace([], documents)

    def _stored_ids(self) -> Iterator[list[tuple[str, str]]]:
        # Documents that another program wrote belong to no review: the job leaves them alone.
        ids = ((document, review) for document, review in self._store.iter_ids() if review)
        while batch := list(islice(ids, self._batch_size)):
            yield batch

    def _log_writing(self) -> None:
        how = self._writing.figures()
        if how["documents"]:
            logger.info(
                "%s documents written at %s a second, %.2f %% of them sent again",
                f"{how['documents']:,}",
                f"{how['documents_per_second']:,.0f}",
                100 * how["share_retried"],
            )

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
            version=self._version,
            encoder=None if self._encoder is None else self._encoder.identity,
            writing=self._writing,
            made_with={
                "qa_system": __version__,
                "haystack": version("haystack-ai"),
                "python": platform.python_version(),
                "sources": [file.name for file in self._sources.files],
                "indexing": self._settings.model_dump(mode="json"),
            },
        )
