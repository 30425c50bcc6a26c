"""Requests of other pages are refused, and what a page of ours may do is limited."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qa_system.serving.envelope import SECURITY, refused
from qa_system.serving.errors import RequestError
from qa_system.serving.product_page.widget import POLICY

__all__ = ["ForeignRequestError", "Guard"]

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

    Args:
        app: the application.
        name: the host that the server listens on.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
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

        app = self._app if self._is_own(dict(scope["headers"])) else _refusal(state["request_id"])
        await app(scope, receive, send_framed)

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


def _refusal(request_id: str) -> Response:
    error = ForeignRequestError(ForeignRequestError.public_message)
    status, body, headers = refused(error, request_id)
    return Response(body, status, headers, media_type="application/json")
