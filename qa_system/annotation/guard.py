"""Requests of other pages and without a token are refused, and what our page may do is limited."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qa_system.errors import QASystemError
from qa_system.serving.envelope import SECURITY, read_body, replayed, send_error
from qa_system.serving.errors import KeyRefusedError, RequestError
from qa_system.serving.product_page.widget import POLICY

__all__ = ["ForeignRequestError", "Guard"]

MAX_BODY_BYTES: Final = 1 << 16

HEADERS: Final = (
    *((name, value) for name, value in SECURITY if name != b"content-security-policy"),
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class ForeignRequestError(RequestError):
    """Another page has sent the request, or it was sent to another name."""

    public_message = "This address does not answer other pages."
    status = 403


class Guard:
    """Wraps the application; it lets requests to this address from its own page through.

    A page of another site whose name was made to mean this machine (DNS rebinding) sends that name
    as the host. So the host is an IP address, `localhost`, or the name that the server was told.
    Of the API, it lets those with a token through, whose annotator it puts into their state. No
    body is read before, and none that is longer than a label can be.

    Args:
        app: the application.
        name: the host that the server listens on.
        tokens: the annotator whom each belongs to.
    """

    def __init__(self, app: ASGIApp, name: str, tokens: Mapping[str, str]) -> None:
        self._app = app
        self._tokens = {token.encode(): annotator for token, annotator in tokens.items()}
        self._names = {"localhost", name.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = {"request_id": uuid4().hex, "told": {}}
        scope.setdefault("state", {}).update(state)

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in HEADERS}
                own = [each for each in message.get("headers", ()) if each[0] not in named]
                message["headers"] = [*own, *HEADERS]
            await send(message)

        headers = dict(scope["headers"])
        try:
            if not self._is_own(headers):
                raise ForeignRequestError(ForeignRequestError.public_message)
            if scope["path"].startswith("/v1/"):
                scope["state"]["annotator"] = self._annotator(headers.get(b"authorization", b""))
            body = await read_body(receive, MAX_BODY_BYTES)
        except QASystemError as error:
            await send_error(send_framed, error, state["request_id"])
            return
        await self._app(scope, replayed(body, receive), send_framed)

    def _annotator(self, authorization: bytes) -> str:
        scheme, _, given = authorization.partition(b" ")
        is_bearer = scheme.lower() == b"bearer"
        for token, name in self._tokens.items():
            if hmac.compare_digest(token, given.strip()) and is_bearer:
                return name
        raise KeyRefusedError("The token is missing, or of another run of qa annotate.")

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        try:
            is_from_here = origin is None or urlsplit(origin.decode("latin-1")).netloc == host
            return is_from_here and self._is_known(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False

    def _is_known(self, name: str) -> bool:
        if name in self._names:
            return True
        ip_address(name)
        return True
