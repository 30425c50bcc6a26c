"""The official client, for answers that are whole and servers that are waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final

import orjson
from elastic_transport import Transport, TransportError
from elasticsearch import Elasticsearch
from elasticsearch.serializer import OrjsonSerializer

__all__ = ["make_client"]

logger = logging.getLogger(__name__)

BUSY: Final = (429, 502, 503, 504)
PAUSE: Final = 1.0
"""Seconds between two requests to a server that is waited for."""
TOLD_EVERY: Final = 15
"""Pauses between two lines in the log about it."""


def make_client(
    hosts: Sequence[str], patience: Callable[[], float], *, where: str, **options: Any
) -> Elasticsearch:
    """Make a client of a server or a cluster; nothing is sent yet.

    Args:
        hosts: addresses.
        patience: returns the seconds for which the calling thread waits for a server that is
            down or busy.
        where: the server, for the log.
        **options: of the client, credentials among them.
    """

    class WaitingTransport(_PatientTransport):
        seconds_of_patience = staticmethod(patience)
        server = where

    return _WholeAnswers(
        hosts,
        serializers={_Serializer.mimetype: _Serializer()},
        retry_on_status=BUSY,
        transport_class=WaitingTransport,
        retry_on_timeout=True,
        max_retries=3,
        **options,
    )


class _Serializer(OrjsonSerializer):  # type: ignore[misc]
    mimetype = "application/vnd.elasticsearch+json"

    def loads(self, data: bytes) -> Any:
        return orjson.loads(data)


class _WholeAnswers(Elasticsearch):  # type: ignore[misc]
    """By itself the server leaves out what a shard that fails would have returned."""

    def search(self, **named: Any) -> Any:
        return super().search(**{"allow_partial_search_results": False, **named})

    def msearch(self, *, searches: Sequence[Mapping[str, Any]], **named: Any) -> Any:
        whole = {"allow_partial_search_results": False}
        lines = [line if n % 2 else {**line, **whole} for n, line in enumerate(searches)]
        return super().msearch(searches=lines, **named)


class _PatientTransport(Transport):
    """Sends a request again, for as long as its thread is patient; subclasses say how long."""

    seconds_of_patience: Callable[[], float]
    server: str

    def perform_request(self, *positional: Any, **named: Any) -> Any:
        # Who wants no retries makes their own.
        has_own = named.get("max_retries") == 0
        until = monotonic() + (0.0 if has_own else self.seconds_of_patience())
        pauses = 0
        while True:
            try:
                answer = super().perform_request(*positional, **named)
            except TransportError:
                if monotonic() >= until:
                    raise
            else:
                if answer.meta.status not in BUSY or monotonic() >= until:
                    return answer
            if pauses % TOLD_EVERY == 0:
                logger.warning(
                    "%s does not answer: waiting, for %.0f s more at most",
                    self.server,
                    until - monotonic(),
                )
            pauses += 1
            sleep(PAUSE)
