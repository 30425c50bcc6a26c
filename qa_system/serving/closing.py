"""What comes while a service stops: it is told so, and not cut off.

Connections wait in the kernel until a worker accepts them. When the workers have stopped accepting,
those that wait would be reset, although the client has sent its request whole.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import uuid4

from qa_system.errors import ClosedError

__all__ = ["turn_away"]

TICK: Final = 0.05
SECONDS: Final = 2.0
"""How long a request may take to arrive."""
LARGEST: Final = 1 << 20
"""Bytes of a body that are read; of a longer one the rest is not waited for."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


def turn_away(listening: socket.socket, is_over: Callable[[], bool]) -> None:
    """Answer every connection with 503, until it is over and none waits; then close the socket.

    Args:
        listening: accepts connections; whoever else accepts from it has stopped, or is about to.
        is_over: asked again and again; True ends it.
    """
    asyncio.run(_turn_away(listening, is_over))


async def _turn_away(listening: socket.socket, is_over: Callable[[], bool]) -> None:
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            answering.add(task)
            task.add_done_callback(answering.discard)
        with suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                if length is not None:
                    await reader.readexactly(min(int(length[1]), LARGEST))
                writer.write(_refusal())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening)
    while not is_over():
        await asyncio.sleep(TICK)
    await asyncio.sleep(TICK)  # those that waited are accepted by now
    server.close()
    if answering:
        await asyncio.wait(answering, timeout=SECONDS)


def _refusal() -> bytes:
    request_id = uuid4().hex
    error = {"code": ClosedError.code, "message": ClosedError.public_message}
    body = json.dumps({"error": {**error, "request_id": request_id}}).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 1",
        "connection: close",
        "x-content-type-options: nosniff",
        f"x-request-id: {request_id}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
