"""What every request and every response has: an id, limits, headers, a line in the log."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from qa_system.errors import QASystemError
from qa_system.serving.errors import (
    InvalidRequestError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    body_of,
    retry_after,
    status_of,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

    from qa_system.serving.service import Service

__all__ = [
    "SECURITY",
    "Envelope",
    "handle_errors",
    "read_body",
    "refused",
    "replayed",
    "send_error",
]

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
BODY_SECONDS: Final = 10.0
"""How long a body may take to arrive."""
ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Envelope:
    """Wraps the application: the body is read up to its limit before anything else is done.

    Args:
        app: the application.
        service: has the limits and the metrics.
        routes: that requests are counted by.
    """

    def __init__(self, app: App, service: Service, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self._routes = routes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 499  # whoever asked has gone
        request_id = _request_id(scope)
        told: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=request_id, told=told)

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                headers = [*own, *(each for each in SECURITY if each[0] not in dict(own))]
                headers.append((b"x-request-id", request_id.encode()))
                if self._service.is_stopping:
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        try:
            body = await read_body(receive, self._service.settings.serving.max_body_bytes)
            await self._app(scope, replayed(body, receive), send_framed)
        except QASystemError as error:
            await send_error(send_framed, error, request_id)
        except Exception as error:
            logger.exception("a request failed", extra={"fields": {"request_id": request_id}})
            if status == 499:
                await send_error(send_framed, QASystemError(str(error)), request_id)
        finally:
            seconds = perf_counter() - began
            route = _path_of(scope, self._routes)
            self._service.metrics.observe_request(route, status, seconds)
            fields = {
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                **told,
            }
            logger.info("request", extra={"fields": fields})


def refused(error: QASystemError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Return the status, the body and the headers of an error's response."""
    headers = {"cache-control": "no-store"}
    seconds = retry_after(error)
    if seconds is not None:
        headers["retry-after"] = str(seconds)
    status = status_of(error)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return status, orjson.dumps(body_of(error, request_id)), headers


def handle_errors(app: FastAPI) -> None:
    """Let an application return every error as JSON.

    Args:
        app: whatever wraps it sets `request_id` and `told` in the state of each request.
    """
    app.add_exception_handler(QASystemError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(HTTPException, _refuse_path)


async def _refuse(request: Request, error: Exception) -> Response:
    told: QASystemError = error if isinstance(error, QASystemError) else QASystemError(str(error))
    status, body, headers = refused(told, request.state.request_id)
    request.state.told["code"] = told.code
    return Response(body, status, headers, media_type="application/json")


async def _refuse_fields(request: Request, error: Exception) -> Response:
    first: Mapping[str, Any] = {}
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
    if first.get("type") == "json_invalid":
        return await _refuse(request, MalformedRequestError("the body is no JSON"))
    place = ".".join(str(part) for part in first.get("loc", ())[1:]) or "the body"
    return await _refuse(request, InvalidRequestError(f"{place}: {first.get('msg', 'not valid')}"))


async def _refuse_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 400:
        said = "the body is no JSON, nests too deeply, or has a number of too many digits"
        return await _refuse(request, MalformedRequestError(said))
    if status == 405 and isinstance(error, HTTPException):
        told = MethodNotAllowedError(MethodNotAllowedError.public_message)
        response = await _refuse(request, told)
        response.headers.update(error.headers or {})
        return response
    return await _refuse(request, NotFoundError(NotFoundError.public_message))


def _path_of(scope: MutableMapping[str, Any], routes: Sequence[BaseRoute]) -> str:
    """Return the path of a request's route, also of one whose body was refused before it."""
    fitting = (each for each in routes if each.matches(scope)[0] is Match.FULL)
    route = scope["route"] if "route" in scope else next(fitting, None)
    return str(getattr(route, "path", "other"))


def _request_id(scope: MutableMapping[str, Any]) -> str:
    """Return the id that the client or a proxy has given, or a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if ID.fullmatch(given) else uuid4().hex


async def read_body(receive: Receive, most: int) -> bytes:
    """Read the body of a request.

    Args:
        receive: of the request.
        most: bytes that it may have.

    Raises:
        MalformedRequestError: it did not arrive, or not in time.
        RequestTooLargeError: it has more.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise MalformedRequestError("the body did not arrive")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise RequestTooLargeError(f"the body has more than {most} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise MalformedRequestError("the body did not arrive in time") from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what hands out the body that was read, and then what comes after it."""
    sent = False

    async def receive_again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again


async def send_error(send: Send, error: QASystemError, request_id: str) -> None:
    """Send an error as the response."""
    status, body, headers = refused(error, request_id)
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    listed += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})
