"""The errors that a user can cause, in one tree.

QASystemError                      base: what is wrong, where, and what to do
├── ConfigError                    a setting, a flag or a configuration file (exit code 2)
├── MissingDependencyError         an optional package that a setting needs
├── DataError                      a file that is not what it should be
│   └── RecordError                one bad row: the job sets it aside and goes on
├── StoreError                     a document store
│   ├── StoreNotFoundError         there is no store at that place
│   ├── StoreLockedError           another process is writing
│   ├── StoreUnavailableError      a server that does not answer, or has no room or time
│   ├── StoreAccessError           a server that refuses access
│   ├── StoreVersionError          a server of another major version
│   ├── StoreMismatchError         the store was made with other settings
│   │   └── EncoderMismatchError   ... by another encoder
│   ├── EmbeddingError             wrong dimension, NaN, or none
│   ├── InvalidFilterError         (stores.filters; also haystack's FilterError)
│   ├── DuplicateIdError           (stores.contract; also haystack's DuplicateDocumentError)
│   ├── DocumentsRejectedError     (stores.contract; names each document and the reason)
│   ├── DamagedIndexError          (in the embedded store; tantivy cannot read or write it)
│   ├── DocumentTypeError          (stores.rows; also ValueError)
│   └── MetadataError              (stores.rows; also ValueError)
├── ModelError                     a model that is missing, damaged or of another kind
├── QuestionError                  a question that cannot be asked
│   ├── EmptyQuestionError
│   ├── QuestionTooLongError
│   └── UnknownItemError
├── JobError                       an indexing job that had to stop
│   ├── TooManyRejectsError
│   └── JobInterruptedError        (indexing.interrupts)
└── EvaluationError                an evaluation whose numbers would mean nothing
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ConfigError",
    "DataError",
    "EmbeddingError",
    "EmptyQuestionError",
    "EncoderMismatchError",
    "EvaluationError",
    "JobError",
    "MissingDependencyError",
    "ModelError",
    "QASystemError",
    "QuestionError",
    "QuestionTooLongError",
    "RecordError",
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

    Args:
        what: the error, as a sentence without its full stop.
        where: the file, row, setting or document that it concerns.
        remedy: what the reader of the message can do now.

    >>> str(QASystemError("the text is empty", where="row 7 of a.csv", remedy="Remove the row."))
    'the text is empty (row 7 of a.csv). Remove the row.'
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        message = what if where is None else f"{what} ({where})"
        super().__init__(message if remedy is None else f"{message}. {remedy}")


class ConfigError(QASystemError):
    """A setting, a flag or a configuration file is wrong."""

    exit_code = 2


class MissingDependencyError(QASystemError):
    """A setting needs a package that is not installed."""


class DataError(QASystemError):
    """A file is missing, unreadable or not in the format that it was read as."""


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


class StoreNotFoundError(StoreError):
    """There is no store at the place named."""


class StoreLockedError(StoreError):
    """Another process holds the store's writer lock."""


class StoreUnavailableError(StoreError):
    """The store's server does not answer, or has no room or no time for what was asked."""


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


class QuestionError(QASystemError):
    """A question cannot be asked as it stands."""


class EmptyQuestionError(QuestionError):
    """The question has no words."""


class QuestionTooLongError(QuestionError):
    """The question leaves no room for the review in the reader's window."""


class UnknownItemError(QuestionError):
    """The store has no review of the item asked about."""


class JobError(QASystemError):
    """An indexing job had to stop."""


class TooManyRejectsError(JobError):
    """More rows were set aside than the job was told to accept."""


class EvaluationError(QASystemError):
    """The numbers of an evaluation would mean nothing."""
