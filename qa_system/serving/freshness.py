"""Which generation of the store is read now."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from qa_system.errors import QASystemError

if TYPE_CHECKING:
    from qa_system.stores.contract import Generation, ReviewStore

__all__ = ["Freshness"]

logger = logging.getLogger(__name__)


class Freshness:
    """Knows the store's generation: read each time, or from a server every few moments.

    Args:
        store: is asked.
        poll: seconds between two questions to a server; None: the store is asked each time, which
            takes the embedded one about 30 microseconds.
    """

    def __init__(self, store: ReviewStore, poll: float | None) -> None:
        self._store = store
        self._poll = poll
        self._last: Generation | None = None

    def now(self) -> Generation | None:
        """Return the generation; None: the server has not said.

        Raises:
            QASystemError: the embedded store cannot be read.
        """
        return self._store.read_generation() if self._poll is None else self._last

    async def follow(self) -> None:
        """Ask a server for its generation again and again, until it is cancelled."""
        while self._poll is not None:
            try:
                self._last = await asyncio.to_thread(self._store.read_generation)
            except QASystemError as error:
                self._last = None
                logger.warning("the generation is not known: %s", error.code)
            await asyncio.sleep(self._poll)
