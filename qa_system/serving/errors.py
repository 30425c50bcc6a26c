"""The errors of a request, and the HTTP status of every error that a request can meet."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from qa_system.errors import (
    ClosedError,
    DigestNotFoundError,
    InvalidArgumentError,
    QASystemError,
    QuestionError,
    ReviewChangedError,
    StoreLockedError,
    StoreUnavailableError,
    UnknownItemError,
)

__all__ = [
    "ClientGoneError",
    "DeadlineError",
    "InvalidRequestError",
    "KeyRefusedError",
    "MalformedRequestError",
    "MethodNotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "RateLimitedError",
    "RequestError",
    "RequestTooLargeError",
    "body_of",
    "retry_after",
    "status_of",
]


class RequestError(QASystemError):
    """A request is not answered; what is wrong may be told to whoever sent it.

    Args:
        what: as of every error; it holds nothing but what the request itself said.
        retry_after: seconds after which it may be sent again; None: it should not.
    """

    status: ClassVar[int] = 500

    def __init__(self, what: str, *, retry_after: int | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class MalformedRequestError(RequestError):
    """The body is no JSON, or did not arrive."""

    public_message = "The request is malformed."
    status = 400


class KeyRefusedError(RequestError):
    """There is no API key, or it may not do this."""

    public_message = "The API key is missing or not valid."
    status = 401


class NotFoundError(RequestError):
    """There is no such path or review."""

    public_message = "There is nothing at this address."
    status = 404


class MethodNotAllowedError(RequestError):
    """The path is there for other methods."""

    public_message = "This address does not take the method."
    status = 405


class RequestTooLargeError(RequestError):
    """The body is longer than `serving.max_body_bytes`, or has more questions than may be."""

    public_message = "The request is too large."
    status = 413


class InvalidRequestError(RequestError):
    """A field is missing, unknown, or has a wrong type or value."""

    public_message = "The request is not valid."
    status = 422


class RateLimitedError(RequestError):
    """The API key has asked as many questions as it may for now."""

    public_message = "Too many questions. Try again later."
    status = 429


class ClientGoneError(RequestError):
    """Whoever asked has closed the connection; nobody reads this, but for logs and metrics."""

    public_message = "The client has gone."
    status = 499


class OverloadedError(RequestError):
    """As many questions wait as may, or as can be answered in time."""

    public_message = "The service is busy. Try again later."
    status = 503


class DeadlineError(RequestError):
    """The request's time was over before its answer was there."""

    public_message = "The answer took too long."
    status = 504


STATUSES: Final[tuple[tuple[type[QASystemError], int], ...]] = (
    (UnknownItemError, 404),
    (DigestNotFoundError, 404),
    (QuestionError, 422),
    (InvalidArgumentError, 422),
    (ReviewChangedError, 409),
    (StoreUnavailableError, 503),
    (StoreLockedError, 503),
    (ClosedError, 503),
)
"""Of the library's errors; the first that fits counts, and any other is the server's own (500)."""
RETRY_AFTER: Final = 1
"""Seconds, for a store that is away."""


def status_of(error: QASystemError) -> int:
    """Return the HTTP status of an error.

    >>> status_of(UnknownItemError("no")), status_of(QASystemError("no"))
    (404, 500)
    """
    if isinstance(error, RequestError):
        return error.status
    from qa_system.stores.filters import InvalidFilterError

    if isinstance(error, InvalidFilterError):
        return 422
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def body_of(error: QASystemError, request_id: str) -> dict[str, Any]:
    """Return an error as it is sent: what may be told to anybody, and the request's id.

    >>> body_of(UnknownItemError("no review of 'x'", where="/data"), "r1")["error"]["message"]
    'There are no reviews of this item.'
    """
    message = error.what if isinstance(error, RequestError) else error.public_message
    return {"error": {"code": error.code, "message": message, "request_id": request_id}}


def retry_after(error: QASystemError) -> int | None:
    """Return the seconds after which the request may be sent again; None: it should not."""
    if isinstance(error, RequestError):
        return error.retry_after
    return RETRY_AFTER if status_of(error) == 503 else None
