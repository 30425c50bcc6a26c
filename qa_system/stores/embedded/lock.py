"""One writer at a time, over processes; whoever comes second is told who the first is."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from qa_system.errors import StoreLockedError
from qa_system.stores.embedded.access import create_file, file_mode

__all__ = ["WriterLock"]


class WriterLock:
    """The writer's lock of a store's folder; it ends with the process that holds it.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = folder / "writer.json"
        self._pid = os.getpid()
        self._lock = self._make()

    def _make(self) -> FileLock:
        return FileLock(
            self._folder / "writer.lock", thread_local=False, mode=file_mode(self._folder)
        )

    @property
    def is_held(self) -> bool:
        """Whether this object, in this process, holds the lock."""
        return self._pid == os.getpid() and bool(self._lock.is_locked)

    def acquire(self, wait: float) -> None:
        """Take the lock, unless it is held already.

        Args:
            wait: seconds to wait for another holder.

        Raises:
            StoreLockedError: another process, or another store object, holds it.
        """
        if self.is_held:
            return
        # A lock that came through a fork is the parent's.
        self._pid, self._lock = os.getpid(), self._make()
        try:
            self._lock.acquire(timeout=wait, poll_interval=0.01)
        except Timeout:
            raise StoreLockedError(
                f"the store is being written by {self._describe_holder()}",
                where=str(self._folder),
                remedy="Wait until it has finished, or stop it; reading needs no lock.",
            ) from None
        # It only names the holder in messages; a link that somebody put there is not followed.
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
            with create_file(self._holder) as file:
                file.write(
                    orjson.dumps(
                        {
                            "pid": os.getpid(),
                            "host": socket.gethostname(),
                            "since": datetime.now(UTC).isoformat(timespec="seconds"),
                        }
                    )
                )

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self.is_held:
            with contextlib.suppress(OSError):
                self._holder.unlink(missing_ok=True)
            self._lock.release()

    def _describe_holder(self) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = orjson.loads(self._holder.read_bytes())
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        return "another process"
