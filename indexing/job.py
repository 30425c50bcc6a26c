"""The job: sources in batches, what changed encoded, written, checkpointed."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Final

from indexing.batches import Batch, added
from indexing.changes import Changed, Written, documents_of
from indexing.checkpoint import Checkpoint, CheckpointFile, Counts, Outcome, Seen
from indexing.command import command_of
from indexing.identity import Identities
from indexing.interrupts import Interrupts
from indexing.notes import Notes, split_of
from indexing.rebuild import check_has_versions, next_version, promote, versioned
from indexing.rejects import RejectFile, check_reject_file
from indexing.report import JobReport
from indexing.state import fingerprint_of, job_name, state_folder
from qa_system import __version__
from qa_system.config import PassageSettings, Settings
from qa_system.console.progress import progress
from qa_system.console.wording import counted
from qa_system.errors import JobError, StoreMismatchError, TooManyRejectsError
from qa_system.sources.aliases import UnknownColumnsError
from qa_system.sources.column_types import IDS, ColumnTypes
from qa_system.sources.files import Sources, open_sources
from qa_system.sources.rows import Reason, Row

if TYPE_CHECKING:
    from qa_system.retrievers.encoders import Encoder
    from qa_system.stores.contract import ReviewStore

__all__ = ["run_job"]

logger = logging.getLogger(__name__)

WITNESSES: Final = 16
"""Reviews of the last batch by which an unfinished run knows its store again."""
REFUSED: Reason = "refused by the store"
OTHERWISE: Final = "otherwise"
"""Stands for the content hash of a review that the store has in several documents."""


def run_job(
    settings: Settings, *, rebuild: bool = False, stdin: IO[bytes] | None = None
) -> JobReport:
    """Index the sources' reviews; run it again at any time, it does only what is left to do.

    A review that the store holds as it is in the source is left alone, by its content hash; one
    that changed is replaced; one that the store refuses is set aside. A run that was killed goes
    on from its checkpoint, if neither the sources nor the settings changed. A server that does not
    answer is waited for (`store.bulk.retry_for`). If an id comes twice, its last row counts.

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
        JobError: the sources held no row, or none that could be used.
        JobInterruptedError: a signal said so.
        StoreError: the store cannot be written, or what a rebuild has built is not whole.
    """
    if rebuild:
        check_has_versions(settings.store)
    # Haystack and the models take seconds to import: not for an error that is found before.
    with Interrupts() as interrupts:
        sources = _opened(settings, stdin)
        from qa_system.retrievers.encoders import load_encoder
        from qa_system.stores import open_store

        encoder = load_encoder(settings.encoder) if settings.indexing.embed else None
        similarity = None if encoder is None else encoder.identity.similarity
        with (
            open_store(settings.store, create=True, similarity=similarity) as store,
            CheckpointFile(state_folder(settings), job_name(settings, rebuild=rebuild)) as state,
        ):
            own_place = state.path.with_suffix(".rejects.jsonl")
            given = settings.indexing.rejects
            rejects_path = own_place if given is None else Path(given)
            fingerprint = fingerprint_of(settings, sources, encoder, rejects_path, rebuild=rebuild)
            job = _Job(settings, sources, encoder, state, interrupts, rejects_path, fingerprint)
            if not rebuild:
                return _Run(job, store).go()
            aliased = versioned(store)
            identity = None if encoder is None else encoder.identity
            with next_version(aliased, job.unfinished(), identity) as built:
                run = _Run(job, built, built.index)
                return run.go(lambda documents: promote(aliased, built, documents))


def _opened(settings: Settings, stdin: IO[bytes] | None) -> Sources:
    """Recognise the sources, and make sure that no reject file overwrites one."""
    passages = settings.indexing.passages
    if passages.max_words is None and passages.overlap_words != PassageSettings().overlap_words:
        logger.warning("overlap_words has no effect: without max_words, reviews are not split")
    try:
        sources = open_sources(settings.indexing, stdin)
    except UnknownColumnsError as error:
        raise error.with_command(command_of(settings)) from None
    if settings.indexing.rejects is not None:
        files = [file.path for file in sources.files]
        check_reject_file(Path(settings.indexing.rejects), files)
    return sources


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


class _Run:
    """One run of a job; `go` takes it from its checkpoint to its end."""

    def __init__(self, job: _Job, store: ReviewStore, version: str | None = None) -> None:
        self._settings = job.settings.indexing
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
        self._kept = store.notes()
        self._noted = Notes.of(store, self._store_path)
        self._sources = job.sources.by_recipe(self._noted.recipe)
        self._noted.compare(self._sources.mapping, self._settings)
        self._types = ColumnTypes.of(
            self._settings, {**self._noted.types, **self._checkpoint.types}
        )
        self._types.nulls.update(self._checkpoint.counts.nulls)

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
        self._check_usable(counts)
        if promote is not None:
            promote(counts.written + counts.updated + counts.unchanged)
        elif self._settings.delete_missing:
            self._delete_missing()
        self._checkpoint = replace(self._checkpoint, seconds=self._seconds())
        self._state.finish(self._checkpoint)
        self._log_writing()
        return self._report()

    def _resume(self, job: _Job) -> tuple[Checkpoint, dict[str, str | None]]:
        """Take up the last run if it was not finished and everything is as it left it."""
        last = job.unfinished()
        if last is not None:
            if last.version == self._version and self._still_holds(last):
                logger.info("resuming after %s rows", f"{last.counts.read:,}")
                return last, self._state.attempted()
            logger.info("the store or the reject file is not that of the last run: starting anew")
        fresh = Checkpoint(job.fingerprint, version=self._version)
        self._state.begin(fresh)
        return fresh, {}

    def _still_holds(self, last: Checkpoint) -> bool:
        rejects = self._rejects_path.stat().st_size if self._rejects_path.exists() else 0
        stored = self._store.documents_of_reviews(last.last)
        return rejects >= last.rejects_bytes and all(stored.get(each) for each in last.last)

    def _batches(self) -> Iterator[list[Row]]:
        rows = self._sources.rows(self._checkpoint.position, self._types)
        while batch := list(islice(rows, self._batch_size)):
            yield batch

    def _index(self, rows: list[Row], rejects: RejectFile) -> None:
        """Take a batch from rows to an acknowledged write and a moved checkpoint."""
        identities = Identities(self._state, rows, self._noted.recipe)
        batch = Batch.of(rows, self._sources.files, identities)
        for reject in batch.rejects:
            rejects.write(reject)
        rejected = self._checkpoint.counts.rejected + len(batch.rejects)
        self._check_rejects(rejected, rejects)
        known = self._state.seen(list(batch.reviews))
        changed, stale, seen = self._compared(batch, known)
        made = documents_of(
            changed,
            self._encoder,
            embed_title=self._embed_title,
            divide=self._settings.sentences,
        )

        # A transaction is waited for; a server, which may be away for minutes, is not.
        with nullcontext() if self._place.is_server else self._interrupts.held():
            self._note()
            written = {each.review.id: seen[each.review.id].before for each in changed}
            self._state.attempt(self._attempted | written)
            refused = self._write(made, stale)
            for review_id, reason in refused.items():
                rejects.write(batch.reviews[review_id].rejected(REFUSED, reason))
                # The source still has it: it is not to be deleted as missing.
                seen[review_id] = Seen(review_id)
            self._check_rejects(rejected + len(refused), rejects)
            counts = added(self._checkpoint.counts, batch, seen, known, [REFUSED] * len(refused))
            self._checkpoint = replace(
                self._checkpoint,
                position=rows[-1].after,
                counts=replace(
                    counts,
                    truncated=counts.truncated + made.truncated,
                    nulls=dict(self._types.nulls),
                ),
                seconds=self._seconds(),
                rejects_bytes=rejects.flush(),
                last=tuple(batch.reviews)[-WITNESSES:] or self._checkpoint.last,
                types=self._types.decided,
            )
            ids = (reject.review_id for reject in batch.rejects)
            bad = [Seen(each) for each in ids if each is not None]
            self._state.commit(self._checkpoint, [*bad, *seen.values()], identities.told())
        for review_id in batch.reviews:
            self._attempted.pop(review_id, None)

    def _compared(
        self, batch: Batch, known: Mapping[str, Seen]
    ) -> tuple[list[Changed], list[str], dict[str, Seen]]:
        """Compare a batch with the store.

        Args:
            batch: the batch.
            known: what had come of earlier rows with the same ids.

        Returns:
            The reviews to write; the ids of documents to delete; what comes of each review.
        """
        stored = self._store.documents_of_reviews(list(batch.reviews))
        changed: list[Changed] = []
        stale: list[str] = []
        seen: dict[str, Seen] = {}
        for review_id, read in batch.reviews.items():
            each = Changed.of(read.review, self._settings.passages)
            there = stored.get(review_id, {})
            before = self._before_the_run(review_id, there, known)
            outcome: Outcome = "unchanged" if before == each.content_hash else "updated"
            outcome = "written" if before is None else outcome
            seen[review_id] = Seen(review_id, each.content_hash, before, outcome, len(each.spans))
            if there != {review_id: each.content_hash}:
                changed.append(each)
                stale.extend(there.keys() - {review_id})
        return changed, stale, seen

    def _before_the_run(
        self, review_id: str, there: Mapping[str, str], known: Mapping[str, Seen]
    ) -> str | None:
        """Tell what the store had of a review when the run began; None: nothing."""
        seen = known.get(review_id)
        if seen is not None and seen.digest is not None:
            return seen.before
        if review_id in self._attempted:
            # It was written just before a kill.
            return self._attempted[review_id]
        if not there:
            return None
        return there[review_id] if there.keys() == {review_id} else OTHERWISE

    def _note(self) -> None:
        """Note in the store what the next job has to know, before it can be needed."""
        noted = Notes(
            recipe=self._noted.recipe,
            types=self._types.decided,
            columns=self._sources.mapping,
            passages=split_of(self._settings),
        )
        notes = noted.to_dict()
        if notes != self._kept:
            self._store.note(notes)
            self._kept = notes

    def _check_usable(self, counts: Counts) -> None:
        """Refuse sources of which nothing could be used; nothing is deleted then."""
        if counts.read > counts.rejected:
            return
        if not counts.read:
            raise JobError(
                "the sources held no rows",
                where=", ".join(self._settings.sources),
                remedy="Check them; the store is as it was.",
            )
        reasons = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.reasons.items()))
        raise JobError(
            f"{counted(counts.read, 'row')} read, and none accepted: {reasons}",
            where=str(self._rejects_path),
            remedy="The file says why. Mend the source, or say which column is what: "
            "--column FIELD=COLUMN",
        )

    def _write(self, made: Written, stale: Sequence[str]) -> dict[str, str]:
        """Write a batch; return the reviews that the store refused, with its reasons."""
        if not made.documents and not stale:
            return {}
        report = self._store.replace(made.documents, stale, made.passages, made.sentences)
        self._writing.add(report)
        self._writing.seconds += report.seconds
        return {one.id: one.reason for one in report.rejected}

    def _check_rejects(self, rejected: int, rejects: RejectFile) -> None:
        limit = self._settings.max_rejects
        if limit is not None and rejected > limit:
            rejects.flush()
            raise TooManyRejectsError(
                f"{counted(rejected, 'row')} set aside, and max_rejects is {limit:,}",
                where=str(rejects.path),
                remedy="The file says why. Mend the source, or run the same command with a "
                "larger --max-rejects: it goes on where it stopped.",
            )

    def _delete_missing(self) -> None:
        """Delete the reviews that the sources, read to their end, hold no more."""
        counts = self._checkpoint.counts
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
        self._state.commit(self._checkpoint)
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
            files=tuple(file.described() for file in self._sources.files),
            types={name: kind for name, kind in self._types.decided.items() if name not in IDS},
            made_with={
                "qa_system": __version__,
                "haystack": version("haystack-ai"),
                "python": platform.python_version(),
                "sources": [file.name for file in self._sources.files],
                "indexing": self._settings.model_dump(mode="json"),
            },
        )
