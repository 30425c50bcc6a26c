"""Who annotates: their names, and one process for each of them at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from qa_system.config import AnyStoreSettings, StoreSettings
from qa_system.errors import ConfigError, StoreLockedError
from qa_system.stores.embedded.access import file_mode

__all__ = ["annotators", "at_work"]

MAX_CHARS: Final = 100


def annotators(names: Sequence[str]) -> list[str]:
    """Return names of annotators, each once.

    Raises:
        ConfigError: a name is empty, too long, or cannot be shown as it is.

    >>> annotators(["ann", "ben", "ann"])
    ['ann', 'ben']
    """
    for name in names:
        if not 0 < len(name) <= MAX_CHARS or not name.isprintable() or name != name.strip():
            raise ConfigError(
                f"{name[:MAX_CHARS]!r} is no name of an annotator",
                where="--annotator",
                remedy=f"Name 1 to {MAX_CHARS} printable characters, without spaces around them.",
            )
    return list(dict.fromkeys(names))


@contextmanager
def at_work(names: Sequence[str], settings: AnyStoreSettings) -> Iterator[None]:
    """Keep other processes from annotating an embedded store in the same names.

    The locks end with the process. For a server there are none.

    Args:
        names: of the annotators.
        settings: of the store.

    Raises:
        StoreLockedError: one of them annotates in another process.
    """
    with ExitStack() as held:
        if isinstance(settings, StoreSettings):
            folder = Path(settings.path)
            for name in names:
                digest = hashlib.sha256(name.encode()).hexdigest()[:16]
                path = folder / f"annotator-{digest}.lock"
                lock = FileLock(path, thread_local=False, mode=file_mode(folder))
                try:
                    held.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    raise StoreLockedError(
                        f"{name} annotates this store in another process",
                        where=str(folder),
                        remedy="Stop that one first, or work under another name: "
                        "qa annotate --annotator NAME.",
                    ) from None
        yield
