"""Writing to the server in bulk: chunks, several in flight, sent again while the server is ill.

`elasticsearch.helpers` has retries (`streaming_bulk`) or several requests in flight
(`parallel_bulk`), not both; and neither can tell a document that an unanswered request wrote from
one that was there before.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from qa_system.console.wording import counted
from qa_system.errors import StoreError, StoreNotFoundError, StoreUnavailableError
from qa_system.stores.elastic.connection import blocked, closed, explained, reason_of
from qa_system.stores.elastic.filters import Query, with_ids
from qa_system.stores.elastic.search import WINDOW, pages
from qa_system.stores.writes import RejectedDocument, WriteReport

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["MOST_ROUNDS", "Action", "BulkSettings", "BulkWriter", "delete_selected"]

logger = logging.getLogger(__name__)

MOST_ROUNDS: Final = 20
"""Times that documents which somebody else has changed meanwhile are looked at again."""
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 15.0
_TOLD_PAUSE: Final = 1.0
"""A shorter pause is an everyday matter."""


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """How much is sent at a time.

    Args:
        chunk_documents: actions in a request, at most.
        chunk_bytes: bytes in a request, unless one action alone has more.
        workers: requests in flight.
        retry_for: seconds for which a request that the server could not take (no answer, 429,
            5xx) is sent again, with growing pauses, before the write is given up.
    """

    chunk_documents: int = 500
    chunk_bytes: int = 4_000_000
    workers: int = 2
    retry_for: float = 300.0


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Args:
        kind: "create" leaves alone what is there, "index" replaces it.
        id: the document's.
        source: its JSON; None for a deletion.
        written: its stamp, by which it is known again; None where it has none.
        seen: (sequence number, primary term) that it must still have; None: any.
    """

    kind: Literal["create", "index", "delete"]
    id: str
    source: bytes | None = None
    written: int | None = None
    seen: tuple[int, int] | None = None

    def lines(self) -> bytes:
        """Return the action as the server reads it."""
        head: dict[str, Any] = {"_id": self.id}
        if self.seen is not None:
            head["if_seq_no"], head["if_primary_term"] = self.seen
        line = orjson.dumps({self.kind: head}) + b"\n"
        return line if self.source is None else line + self.source + b"\n"


class BulkWriter:
    """Send actions to one index.

    Args:
        client: the server's.
        index: where to.
        where: for errors.
        settings: how much at a time.
        is_alias: whether `index` has to be one: where it is gone, the server would make an index
            of that name by itself, without our mapping.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        where: str,
        settings: BulkSettings,
        *,
        is_alias: bool = False,
    ) -> None:
        # Requests are sent again here, with pauses, not at once by the client.
        self.client = client
        self._sender = client.options(max_retries=0, retry_on_timeout=False)
        self.index = index
        self.where = where
        self._settings = settings
        self._is_alias = is_alias
        self._abandoned = Event()
        self._reason = ""

    def write(self, actions: Iterable[Action]) -> WriteReport:
        """Send all actions; those of one call have different ids, and come in any order.

        Returns:
            What came of them: what the server refuses for its own sake is in `rejected`.

        Raises:
            StoreUnavailableError: it did not take them for `retry_for` seconds.
            StoreNotFoundError: the index is gone.
            StoreError: it refuses all of them (credentials, no such index).
        """
        report, began = WriteReport(), monotonic()
        pending: set[Future[WriteReport]] = set()
        with ThreadPoolExecutor(self._settings.workers, "elastic-bulk") as pool:
            try:
                for chunk in self._chunks(actions):
                    while len(pending) >= self._settings.workers:
                        pending = _collect(pending, report)
                    pending.add(pool.submit(self._send, chunk))
                while pending:
                    pending = _collect(pending, report)
            except BaseException:
                self._abandoned.set()
                raise
        report.seconds = monotonic() - began
        return report

    def _chunks(self, actions: Iterable[Action]) -> Iterator[list[Action]]:
        chunk: list[Action] = []
        size = 0
        for action in actions:
            own = len(action.source or b"") + 100
            is_full = len(chunk) >= self._settings.chunk_documents
            if chunk and (is_full or size + own > self._settings.chunk_bytes):
                yield chunk
                chunk, size = [], 0
            chunk.append(action)
            size += own
        if chunk:
            yield chunk

    def _send(self, chunk: list[Action]) -> WriteReport:
        """Send a chunk until every action has an answer."""
        import elasticsearch

        report = WriteReport()
        left, unanswered = chunk, False
        until, pause = monotonic() + self._settings.retry_for, _FIRST_PAUSE
        while True:
            body = b"".join(action.lines() for action in left)
            report.requests += 1
            report.bytes += len(body)
            try:
                answer = self._sender.bulk(
                    index=self.index, operations=[body[:-1]], require_alias=self._is_alias
                )
            except elasticsearch.ApiError as error:
                status = error.meta.status
                if status in (400, 413):
                    report.add(self._halved(left, error))
                    return report
                if (status != 429 and status < 500) or self._is_over(until):
                    self._raise(error)
                unanswered = unanswered or status >= 500
            except elasticsearch.TransportError as error:
                if self._is_over(until):
                    self._raise(error)
                unanswered = True
            else:
                left = self._sort_out(left, answer["items"], report, unanswered)
                if not left:
                    return report
                if self._is_over(until):
                    raise self._given_up(len(left))
            report.retried += len(left)
            if pause >= _TOLD_PAUSE:
                logger.warning(
                    "%s takes no writes: waiting, for %.0f s more at most%s",
                    self.where,
                    max(until - monotonic(), 0.0),
                    f" ({self._reason})" if self._reason else "",
                )
            self._abandoned.wait(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _given_up(self, number: int) -> StoreUnavailableError:
        patience = f"{self._settings.retry_for:g} seconds"
        waited = f"it did not take {counted(number, 'document')} for {patience}"
        if "block" in self._reason:
            return blocked(f"{self._reason} {waited}", self.where)
        return StoreUnavailableError(
            f"the server has no time or no place for this: {waited}: {self._reason}",
            where=self.where,
            remedy="Write again when it has less to do; what it took is kept.",
        )

    def _is_over(self, until: float) -> bool:
        return monotonic() >= until or self._abandoned.is_set()

    def _raise(self, error: Exception) -> None:
        with explained(self.where):
            raise error

    def _halved(self, chunk: list[Action], error: Any) -> WriteReport:
        """Find the actions for which the server refuses a whole request."""
        report = WriteReport()
        if len(chunk) == 1:
            body = error.body
            cause = body.get("error") if isinstance(body, dict) else str(error)
            report.rejected.append(RejectedDocument(chunk[0].id, reason_of(cause)))
            return report
        half = len(chunk) // 2
        report.add(self._send(chunk[:half]))
        report.add(self._send(chunk[half:]))
        return report

    def _sort_out(
        self,
        chunk: Sequence[Action],
        items: Sequence[dict[str, Any]],
        report: WriteReport,
        unanswered: bool,
    ) -> list[Action]:
        """Count what was done, and return what is to be sent again."""
        again: list[Action] = []
        conflicts: list[Action] = []
        for action, item in zip(chunk, items, strict=True):
            [result] = item.values()
            status, error = result["status"], result.get("error", {})
            if status == 429 or status >= 500:
                again.append(action)
                self._reason = reason_of(error)
            elif status == 409:
                conflicts.append(action)
            elif action.kind == "delete" and status in (200, 404):
                report.deleted += status == 200
            elif status < 300:
                report.written += 1
            else:
                self._raise_for_all(error)
                report.rejected.append(RejectedDocument(action.id, reason_of(error)))
        own = self._own(conflicts) if unanswered else set()
        report.written += len(own)
        report.conflicts += [action.id for action in conflicts if action.id not in own]
        return again

    def _raise_for_all(self, error: dict[str, Any]) -> None:
        """Raise what is wrong with the index, and so with no document."""
        kind = error["type"]
        if kind == "index_not_found_exception":
            raise StoreNotFoundError(
                "the index was deleted while it was written to",
                where=self.where,
                remedy="Write everything again, and the index is made anew.",
            )
        if kind == "index_closed_exception":
            raise closed(self.where)
        if kind == "cluster_block_exception":
            raise blocked(reason_of(error), self.where)

    def _own(self, conflicts: Sequence[Action]) -> set[str]:
        """Tell which of the documents that are there already a lost answer was about."""
        stamps = {each.id: each.written for each in conflicts if each.written is not None}
        if not stamps:
            return set()
        with explained(self.where):
            found = self.client.mget(
                index=self.index, ids=list(stamps), source_includes=["written"]
            )
        return {
            each["_id"]
            for each in found["docs"]
            if each.get("found") and each["_source"].get("written") == stamps[each["_id"]]
        }


def _collect(pending: set[Future[WriteReport]], report: WriteReport) -> set[Future[WriteReport]]:
    done, left = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        report.add(future.result())
    return left


def delete_selected(writer: BulkWriter, query: Query) -> int:
    """Delete what a query selects; return the number.

    By pages and bulk, not by the server's `_delete_by_query`: that has one answer for all, after
    however long, and does not try again what failed.

    Raises:
        StoreError: some of it could not be deleted.
    """
    deleted = 0
    for _ in range(MOST_ROUNDS):
        with explained(writer.where):
            writer.client.indices.refresh(index=writer.index)
        hits = pages(
            writer.client, writer.index, query, False, size=WINDOW, seq_no_primary_term=True
        )
        report = writer.write(
            Action("delete", hit["_id"], seen=(hit["_seq_no"], hit["_primary_term"]))
            for hit in hits
        )
        deleted += report.deleted
        if report.rejected:
            reason = report.rejected[0].reason
            raise StoreError(
                f"{counted(deleted, 'document')} deleted, {len(report.rejected):,} could not be: "
                f"{reason}",
                where=writer.where,
                remedy="Delete again when the server is well.",
            )
        with explained(writer.where):
            writer.client.indices.refresh(index=writer.index)
        if not report.conflicts:
            return deleted
        # Whoever was changed meanwhile may not be selected any more.
        query = with_ids(report.conflicts, query)
    raise StoreError(
        f"{counted(deleted, 'document')} deleted; {len(report.conflicts):,} are changed by "
        "somebody "
        "else all the time",
        where=writer.where,
        remedy="Delete again when that has stopped.",
    )
