"""Texts to embed, in their order: of files, of a store, or at hand."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from qa_system.config import Settings, changed
from qa_system.errors import ConfigError, DataError, InvalidArgumentError
from qa_system.sources.aliases import UnknownColumnsError
from qa_system.sources.files import open_sources
from qa_system.sources.rows import RawRow

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore

__all__ = ["FileTexts", "GivenTexts", "StoreTexts", "Text", "Texts"]

logger = logging.getLogger(__name__)

STORE_BATCH: Final = 256


class Text(NamedTuple):
    """A text that is embedded.

    Args:
        text: None or blank: its vector is zeros.
        id: what the source has as its id; None: nothing.
        share: estimate of how much of the source lies before the next text, 0 to 1; None: unknown.
    """

    text: str | None
    id: str | None = None
    share: float | None = None


class Texts(Protocol):
    """A source of texts."""

    @property
    def described(self) -> Mapping[str, Any]:
        """What tells the source from others, as JSON values."""
        ...

    def __iter__(self) -> Iterator[Text]:
        """Yield the texts, in the same order each time."""
        ...


class GivenTexts:
    """Texts of an iterable, which is read once.

    Args:
        texts: None has a row of zeros.
    """

    def __init__(self, texts: Iterable[str | None]) -> None:
        if isinstance(texts, str):
            raise InvalidArgumentError(
                "texts is one text, not several", remedy="Pass a list: embed([text])."
            )
        self._texts = texts

    @property
    def described(self) -> Mapping[str, Any]:
        """Nothing: only the texts themselves tell."""
        return {}

    def __iter__(self) -> Iterator[Text]:
        whole = len(self._texts) if isinstance(self._texts, Sequence) else None
        for number, text in enumerate(self._texts):
            if text is not None and not isinstance(text, str):
                raise InvalidArgumentError(
                    f"texts[{number}] is a {type(text).__name__}, not a text",
                    remedy="Pass texts; None or '' for a row of zeros.",
                )
            yield Text(text, None, (number + 1) / whole if whole else None)


class FileTexts:
    """Texts of a column of files: CSV, JSON or Parquet, as for `qa-index run`.

    Every row has a text, also one that cannot be read: so row i of the vectors is row i of the
    files. Such rows are logged and counted.

    Args:
        places: files, folders, globs, or `-` for standard input.
        field: the column of the texts; None: it is found by the names that are known.
        encoding: of CSV and JSON; None: detected.
        stdin: what `-` reads; None: the process's.

    Raises:
        ConfigError: a file has no such column.
        DataError: a file is missing or cannot be read.
    """

    def __init__(
        self,
        places: Sequence[str],
        field: str | None = None,
        encoding: str | None = None,
        stdin: IO[bytes] | None = None,
    ) -> None:
        told = {
            "indexing.sources": list(places),
            "indexing.columns": {} if field is None else {"text": field},
            "indexing.item": "any",  # a text needs no item
            "indexing.encoding": encoding,
        }
        with _for_texts():
            self._sources = open_sources(changed(Settings(), told).indexing, stdin)
        self.unusable = 0
        self.described = {"sources": list(places), "field": field, "encoding": encoding}

    def __iter__(self) -> Iterator[Text]:
        self.unusable = 0
        rows = self._sources.raw_rows()
        while True:
            with _for_texts():
                row = next(rows, None)
            if row is None:
                return
            yield self._text(row)

    def _text(self, row: RawRow) -> Text:
        file, share = self._sources.files[row.after.file], self._sources.share(row.after)
        values = row.values
        if isinstance(values, Mapping):
            text, own = values.get(file.columns.text), values.get(file.columns.review_id)
            if text is None or isinstance(text, str):
                return Text(text, None if own in (None, "") else str(own), share)
            problem = f"{file.columns.text} is a {type(text).__name__}, not a text"
        else:
            problem = values.detail
        self.unusable += 1
        where = file.name if row.line is None else f"{file.name}, line {row.line}"
        logger.warning("%s: %s; its row is zeros", where, problem)
        return Text(None, None, share)


class StoreTexts:
    """Texts of a store's documents, each with its id, in the order in which the store has them.

    Args:
        store: that is open while they are read.
        place: where it is.
    """

    def __init__(self, store: ReviewStore, place: str) -> None:
        self._store = store
        self.described = {"store": place}

    def __iter__(self) -> Iterator[Text]:
        whole, done = max(self._store.count_documents(), 1), 0
        with closing(self._store.iter_ids()) as pairs:
            while ids := [id_ for id_, _ in islice(pairs, STORE_BATCH)]:
                found = self._store.filter_documents(
                    {"field": "id", "operator": "in", "value": ids}
                )
                contents = {document.id: document.content for document in found}
                for id_ in ids:
                    done += 1
                    yield Text(contents.get(id_), id_, min(done / whole, 1.0))


@contextmanager
def _for_texts() -> Iterator[None]:
    """Say what to do about files of texts, where sources say it of reviews."""
    try:
        yield
    except UnknownColumnsError as error:
        guess = error.columns.get("text") or "COLUMN"
        raise ConfigError(
            error.what,
            where=error.where,
            remedy=f"Name the column of the texts: --field {guess}",
        ) from error
    except (ConfigError, DataError) as error:
        raise type(error)(
            error.what,
            where=error.where,
            remedy="Check the path; texts are read from CSV, JSON Lines or Parquet.",
        ) from error
