"""Whether the machine's clock may be believed before something is dropped for its age."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["CLOCK", "LEAP", "is_believed"]

logger = logging.getLogger(__name__)

CLOCK: Final = """
CREATE TABLE IF NOT EXISTS clock (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  believed TEXT NOT NULL,
  doubted TEXT
);
"""
"""SQL that makes the table of the time that a file has seen last."""
LEAP: Final = timedelta(days=1)
"""By how much a clock may be away from the time seen last; a running service looks each hour."""
_KEPT_EACH: Final = timedelta(minutes=10)
"""So seldom the time is written."""


def is_believed(connection: sqlite3.Connection, now: datetime) -> bool:
    """Tell whether the clock may be believed, and keep what it says.

    A clock that has leapt by more than a day since the file was last written, ahead or back, is
    believed when a further day has passed on it. A service that was stopped for longer waits for
    that day, too.

    Args:
        connection: of a file with the table, in a transaction that writes.
        now: what the clock says.
    """
    row = connection.execute("SELECT believed, doubted FROM clock").fetchone()
    if row is None:
        _keep(connection, now)
        return True
    believed = datetime.fromisoformat(row[0])
    doubted = None if row[1] is None else datetime.fromisoformat(row[1])
    if abs(now - believed) <= LEAP:
        if doubted is not None or not timedelta(0) <= now - believed < _KEPT_EACH:
            _keep(connection, now)
        return True
    if doubted is None or now < doubted:
        _keep(connection, believed, doubted=now)
        logger.error(  # a service logs nothing less
            "the clock has leapt from %s to %s: what is too old is dropped in a day", believed, now
        )
        return False
    if now - doubted < LEAP:
        return False
    _keep(connection, now)
    return True


def _keep(
    connection: sqlite3.Connection, believed: datetime, doubted: datetime | None = None
) -> None:
    written = (
        None if each is None else each.astimezone(UTC).isoformat() for each in (believed, doubted)
    )
    connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?)", (*written,))
