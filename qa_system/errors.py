"""The errors that a user can cause, in one tree.

QASystemError                      base: what is wrong, where, and what to do
├── ConfigError                    a setting, a flag or a configuration file
│   └── InvalidArgumentError       an argument of the Python API (also ValueError)
├── ClosedError                    a system that was closed
├── MissingDependencyError         an optional package that a setting needs
├── DataError                      a file that is not what it should be
│   └── RecordError                one bad row: the job sets it aside and goes on
├── StoreError                     a document store
│   ├── StoreNotFoundError         there is no store at that place
│   ├── StoreLockedError           another process is writing
│   ├── ReviewChangedError         a review that was deleted, or has another text now
│   ├── StoreUnavailableError      a server that does not answer, or has no room or time
│   ├── StoreAccessError           a server that refuses access
│   ├── StoreVersionError          a server of another major version
│   ├── StoreMismatchError         the store was made with other settings
│   │   └── EncoderMismatchError   ... by another encoder
│   ├── EmbeddingError             wrong dimension, NaN, or none
│   ├── InvalidFilterError         (stores.filters; also haystack's FilterError)
│   ├── DuplicateIdError           (stores.writes; also haystack's DuplicateDocumentError)
│   ├── DocumentsRejectedError     (stores.writes; names each document and the reason)
│   ├── DamagedIndexError          (in the embedded store; tantivy cannot read or write it)
│   ├── DamagedStoreError          (stores.documents; a store holds what no store has written)
│   ├── DocumentTypeError          (stores.documents; also ValueError)
│   └── MetadataError              (stores.documents; also ValueError)
├── ModelError                     a model that is missing, damaged or of another kind
├── QuestionError                  a question that cannot be asked
│   ├── EmptyQuestionError
│   ├── QuestionTooLongError
│   └── UnknownItemError
├── DigestNotFoundError            an item whose reviews were not digested yet
├── JobError                       an indexing job that had to stop
│   ├── TooManyRejectsError
│   └── JobInterruptedError        (indexing.interrupts)
└── EvaluationError                an evaluation whose numbers would mean nothing

Each class has a `code`, which programs compare, a `public_message`, which a page may show, and an
`exit_code`. One rule decides the exit code: 2 if what was asked is wrong in itself (a flag, a
setting, an argument, a question, a filter), 1 if it was right and failed (something is missing,
unreadable, damaged, in use or away).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

__all__ = [
    "ClosedError",
    "ConfigError",
    "DataError",
    "DigestNotFoundError",
    "EmbeddingError",
    "EmptyQuestionError",
    "EncoderMismatchError",
    "EvaluationError",
    "InvalidArgumentError",
    "JobError",
    "MissingDependencyError",
    "ModelError",
    "QASystemError",
    "QuestionError",
    "QuestionTooLongError",
    "RecordError",
    "ReviewChangedError",
    "StoreAccessError",
    "StoreError",
    "StoreLockedError",
    "StoreMismatchError",
    "StoreNotFoundError",
    "StoreUnavailableError",
    "StoreVersionError",
    "TooManyRejectsError",
    "UnknownItemError",
]


RecordReason = Literal["malformed", "bad encoding", "duplicate id", "missing text", "missing item"]
"""Why a row of a data set cannot be used."""


class QASystemError(Exception):
    """An error that a user can cause: what is wrong, where, and what to do about it.

    `str(error)` is for whoever runs the system: it may name files and servers, and quote what was
    asked. `code` and `public_message` are the same for every error of a class and hold none of
    that.

    Args:
        what: the error, as a sentence without its full stop.
        where: the file, row, setting or document that it concerns.
        remedy: what the reader of the message can do now.

    >>> error = UnknownItemError("no review of item 'x'", where="/data/store", remedy="Index it.")
    >>> str(error)
    "no review of item 'x' (/data/store). Index it."
    >>> error.code, error.public_message, error.exit_code
    ('unknown_item', 'There are no reviews of this item.', 1)
    """

    code: ClassVar[str] = "error"
    """The class's name in small letters, for programs: it stays the same over versions."""
    public_message: ClassVar[str] = "Something went wrong."
    """A sentence for whoever asked, without paths, hosts and the text that was asked."""
    exit_code: int = 1
    """What a command exits with."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Error")).lower()

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        message = what if where is None else f"{what} ({where})"
        super().__init__(message if remedy is None else f"{message}. {remedy}")

    def to_dict(self) -> dict[str, str]:
        """Return the code and the public message, which may be shown to anybody.

        `public_message` is `message` by its name in earlier versions.
        """
        public = self.public_message
        return {"code": self.code, "message": public, "public_message": public}


class ConfigError(QASystemError):
    """A setting, a flag or a configuration file is wrong."""

    public_message = "The service is not set up correctly."
    exit_code = 2


class InvalidArgumentError(ConfigError, ValueError):
    """An argument of the Python API has a wrong type or value."""

    public_message = "The request is not valid."


class ClosedError(QASystemError):
    """A system is asked after it was closed."""

    public_message = "The service is closed."


class MissingDependencyError(QASystemError):
    """A setting needs a package that is not installed."""

    public_message = "The service is not set up correctly."


class DataError(QASystemError):
    """A file is missing, unreadable or not in the format that it was read as."""

    public_message = "A file cannot be read."


class RecordError(DataError):
    """One row cannot be used; the job sets it aside and goes on.

    Args:
        what: as of every error.
        where: as of every error.
        remedy: as of every error.
        reason: the kind of error, one of a few.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        reason: RecordReason = "malformed",
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.reason: RecordReason = reason


class StoreError(QASystemError):
    """A document store cannot do what was asked."""

    public_message = "The reviews cannot be read or changed."


class StoreNotFoundError(StoreError):
    """There is no store at the place named."""


class StoreLockedError(StoreError):
    """Another process holds the store's writer lock."""

    public_message = "The reviews are being changed. Try again later."


class ReviewChangedError(StoreError):
    """A review is not in the store any more, or has another text."""

    public_message = "The review was deleted or has changed. Skip it."


class StoreUnavailableError(StoreError):
    """The store's server does not answer, or has no room or no time for what was asked."""

    public_message = "The reviews cannot be reached. Try again later."


class StoreAccessError(StoreError):
    """The store's server refuses access, or refuses what was asked."""


class StoreVersionError(StoreError):
    """The store's server has a version that is not supported."""


class StoreMismatchError(StoreError):
    """The store was made with other settings than those given."""


class EncoderMismatchError(StoreMismatchError):
    """The store was filled by another encoder than the one given."""


class EmbeddingError(StoreError):
    """An embedding has the wrong dimension, is not finite, or is missing."""


class ModelError(QASystemError):
    """A model is missing, damaged, or of another kind."""

    public_message = "The model that answers cannot be used."


class QuestionError(QASystemError):
    """A question cannot be asked as it stands."""

    public_message = "This question cannot be answered."
    exit_code = 2


class EmptyQuestionError(QuestionError):
    """The question has no words."""

    public_message = "The question has no words."


class QuestionTooLongError(QuestionError):
    """The question leaves no room for the review in the reader's window."""

    public_message = "The question is too long."


class UnknownItemError(QuestionError):
    """The store has no review of the item asked about."""

    public_message = "There are no reviews of this item."
    exit_code = 1


class DigestNotFoundError(QASystemError):
    """The store has reviews of an item, and no digest of them."""

    public_message = "There is no digest of this item's reviews yet."


class JobError(QASystemError):
    """An indexing job had to stop."""

    public_message = "The reviews were not all indexed."


class TooManyRejectsError(JobError):
    """More rows were set aside than the job was told to accept."""


class EvaluationError(QASystemError):
    """The numbers of an evaluation would mean nothing."""

    public_message = "The evaluation has no result."
