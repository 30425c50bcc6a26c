"""`qa-index forget`: a person's reviews erased from a store and from what its jobs remember."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from indexing.cli.run import STATE
from qa_system.console.app import note, print_json
from qa_system.console.options import KEPT, STORE, JsonOption, takes_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qa_system.config import Settings
    from qa_system.stores.contract import ReviewStore

__all__ = ["ErasedFromJobs", "erase_from_jobs", "forget"]

RECOGNISED_BY: Final = 40
"""First characters of a review by which a rejected row is recognised; it may be shortened."""
_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class ErasedFromJobs:
    """What was erased beside the store.

    Args:
        checkpoints: of jobs that knew one of the reviews; such a job begins anew, and skips what
            the store has.
        rejects: rows that were set aside.
        remaining_rejects: by file, rows of others, or of nobody that can be told.
    """

    checkpoints: int
    rejects: int
    remaining_rejects: dict[str, int]


@takes_settings(STORE, STATE, *KEPT)
def forget(
    settings: Settings,
    reviews: Annotated[list[str], typer.Argument(metavar="REVIEW", help="Ids of reviews.")],
    as_json: JsonOption = False,
) -> None:
    """Erase reviews from a store, its labels, digests and jobs: no file of theirs holds them.

    What was deleted or overwritten before is erased, too. Sources, backups and snapshots are not
    reached. A server's jobs keep their files in the folder that they were started in: run this
    there, or name it with --state. What qa serve keeps is reached where its settings (--config) or
    --feedback, --audit and --asked name the files; it may run. It takes as long as building the
    store's indexes anew; if it is interrupted, run the same command again.
    """
    from indexing.state import state_folder
    from qa_system.serving.kept.erasure import erase_from_service
    from qa_system.serving.kept.traces import Traces
    from qa_system.stores import open_store

    folder = state_folder(settings).absolute()
    with open_store(settings.store) as opened:
        texts = _texts(opened, reviews)
        same = _same_text(opened, reviews)
        given = settings.indexing.rejects
        reject_file = None if given is None else Path(given)
        jobs = erase_from_jobs(folder, reject_file, reviews, texts)
        traces = Traces(reviews, texts.values())
        # Before, while the texts are known; and again, for what was answered in between.
        served = erase_from_service(settings.serving, traces)
        forgotten = opened.forget(reviews)
        served += erase_from_service(settings.serving, traces)
    unknown = [each for each in reviews if each not in texts]
    if as_json:
        found = {**asdict(forgotten), **asdict(jobs), **asdict(served)}
        left = {"not_found": unknown, "same_text": same}
        print_json({"store": settings.store.place, "state": str(folder), **found, **left})
    else:
        typer.echo(
            f"{settings.store.place}: erased {forgotten.documents:,} documents, "
            f"{forgotten.labels:,} labels, {forgotten.digests:,} digests; of its jobs in {folder}: "
            f"{jobs.checkpoints:,} checkpoints, {jobs.rejects:,} rejected rows; of qa serve: "
            f"{served.feedback:,} entries of feedback, {served.audit:,} answers, "
            f"{served.asked:,} questions"
        )
    chosen = settings.serving
    if not any((chosen.feedback, chosen.audit.file, chosen.asked.file)):
        note("no files of qa serve are named: if it keeps some, name its settings by --config")
    if not folder.is_dir():
        note(f"there is no folder {folder}: where jobs ran elsewhere, name theirs by --state")
    if unknown:
        note(f"not in the store: {', '.join(map(repr, unknown))}")
    if same:
        note(f"the same text, posted to other items, is still there: {', '.join(map(repr, same))}")
    for path, number in jobs.remaining_rejects.items():
        note(f"{path} has {number:,} rejected rows of others, or of nobody that can be told")
    if forgotten.remaining:
        note(f"the server keeps {forgotten.remaining:,} deleted documents: run this again later")
    if forgotten.digests:
        note("make the digests of their items anew: qa-index digest --all")
    note("a source that still has a review brings it back: take it out there, too")


def erase_from_jobs(
    folder: Path, rejects: Path | None, review_ids: Sequence[str], texts: dict[str, str]
) -> ErasedFromJobs:
    """Erase reviews from checkpoints and reject files.

    Args:
        folder: where a store's jobs keep what they remember.
        rejects: another reject file.
        review_ids: of the reviews.
        texts: by id, of those that are known.

    Raises:
        JobError: a job is running.
    """
    checkpoints = removed = 0
    remaining = {}
    for path in sorted(folder.glob("*.sqlite")):
        with _locked(path):
            files = [Path(f"{path}{suffix}") for suffix in _SIDE_FILES]
            held = b"".join(file.read_bytes() for file in files if file.is_file())
            own = path.with_suffix(".rejects.jsonl")
            number = _erase_rejects(own, review_ids, texts)
            if number or any(each.encode() in held for each in review_ids):
                checkpoints += 1
                for file in files:
                    if not file.is_dir():
                        file.unlink(missing_ok=True)
            removed += number
    reject_files = sorted(folder.glob("*.rejects.jsonl"))
    if rejects is not None and rejects.is_file():
        reject_files.append(rejects)
    for path in reject_files:
        removed += _erase_rejects(path, review_ids, texts)
        if path.exists():
            remaining[str(path)] = len(path.read_bytes().splitlines())
    return ErasedFromJobs(checkpoints, removed, remaining)


def _texts(store: ReviewStore, review_ids: Sequence[str]) -> dict[str, str]:
    """Return the texts of those reviews that are there, by review and by document id."""
    fields = ("id", "meta.review_id")
    chosen = [{"field": field, "operator": "in", "value": list(review_ids)} for field in fields]
    texts = {}
    for document in store.filter_documents({"operator": "OR", "conditions": chosen}):
        for name in (document.id, document.meta.get("review_id")):
            if isinstance(name, str):
                texts[name] = document.content or ""
    return texts


def _same_text(store: ReviewStore, review_ids: Sequence[str]) -> list[str]:
    """Return the ids of the other reviews that were posted with these to several items."""
    from qa_system.review_ids import COPY_OF
    from qa_system.stores.filters import copies_of

    named = {"field": "meta.review_id", "operator": "in", "value": list(review_ids)}
    chosen = [each.meta.get(COPY_OF) for each in store.filter_documents(named)]
    firsts = {*review_ids, *(each for each in chosen if isinstance(each, str))}
    among = {"field": "meta.review_id", "operator": "in", "value": sorted(firsts)}
    either = {"operator": "OR", "conditions": [among, copies_of(sorted(firsts))]}
    found = {str(each.meta.get("review_id", each.id)) for each in store.filter_documents(either)}
    return sorted(found - set(review_ids))


def _erase_rejects(path: Path, review_ids: Sequence[str], texts: dict[str, str]) -> int:
    """Write a reject file anew without the rows of some reviews; return their number."""
    import orjson

    from qa_system.stores.embedded.access import create_file

    if not path.is_file():
        return 0
    beginnings = [text[:RECOGNISED_BY] for text in texts.values() if text]
    kept, removed = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            found = orjson.loads(line)
            row, name = str(found["row"] or ""), found["review_id"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            row, name = line.decode(errors="replace"), None
        if name in review_ids or any(text in row for text in beginnings):
            removed += 1
        else:
            kept.append(line)
    if removed:
        if kept:
            fresh = path.with_name(f"{path.name}.new")
            fresh.unlink(missing_ok=True)
            with create_file(fresh, stat.S_IMODE(path.stat().st_mode)) as stream:
                stream.write(b"".join(kept))
            fresh.replace(path)
        else:
            path.unlink()
    return removed


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a job, which is then not running."""
    from filelock import Timeout

    from indexing.checkpoint import lock_of, unwritable
    from qa_system.errors import JobError

    try:
        with lock_of(path).acquire(blocking=False):
            yield
    except Timeout:
        raise JobError(
            "this job is running",
            where=str(path),
            remedy="Wait for it, or end it; then run the same command again.",
        ) from None
    except OSError as error:
        raise unwritable(path, error) from error
