"""The widget's files for browsers, and the shop that shows the widget on the sample."""

from __future__ import annotations

import os
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

from qa_system.config.shipped import resource

__all__ = ["POLICY", "WidgetFiles"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of a page that has its own scripts and styles, asks its own server, and parses no HTML."""
HEADERS: Final = {
    # A page of any shop may load the script: it holds nothing but what is public.
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "cache-control": "public, max-age=300",
    "content-security-policy": POLICY,
}


class WidgetFiles(StaticFiles):
    """Serves `web/`, with the headers that a script on other pages needs."""

    def __init__(self) -> None:
        super().__init__(directory=resource("web"), html=True)

    @override
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        # Compressed, it is other bytes of the same file, which a strong ETag would deny.
        response.headers["etag"] = f"W/{response.headers['etag']}"
        if response.status_code == 304:
            response.headers["vary"] = "Accept-Encoding"
        return response
