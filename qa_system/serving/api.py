"""The routes: what a request names, and what it is answered with."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi import Path as InPath
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import PlainTextResponse

from qa_system import __version__
from qa_system.errors import ClosedError
from qa_system.serving.envelope import Envelope, handle_errors
from qa_system.serving.errors import (
    ClientGoneError,
    KeyRefusedError,
    RateLimitedError,
)
from qa_system.serving.kept.journal import Journal
from qa_system.serving.kept.records import changes
from qa_system.serving.kept.thread import OwnThread
from qa_system.serving.keys import Caller, Keys
from qa_system.serving.limits import RateLimits
from qa_system.serving.product_page.feedback import Feedback
from qa_system.serving.product_page.widget import WidgetFiles
from qa_system.serving.schema import (
    ANSWERS,
    RECORD,
    REFERENCE,
    REPLAYED,
    Ask,
    AskBatch,
    answer_schemas,
)
from qa_system.serving.service import Service, tag_of

__all__ = ["application"]

Result = TypeVar("Result")

SMALL: Final = 1_000
"""Bytes; a shorter response is not compressed."""
COMPRESSION: Final = 6
"""zlib's level."""

bearer = HTTPBearer(auto_error=False, description="An API key.")
header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")

Given = Annotated[str | None, Depends(header)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def _caller(request: Request, given: Given, credentials: Bearer, *, browser: bool) -> Caller:
    keys: Keys = request.app.state.keys
    key = credentials.credentials if credentials is not None else given
    caller = keys.caller(key, request.headers, browser=browser)
    request.state.told["key"] = caller.name
    return caller


async def _anybody(request: Request, given: Given, credentials: Bearer) -> Caller:
    return _caller(request, given, credentials, browser=True)


async def _secret(request: Request, given: Given, credentials: Bearer) -> Caller:
    return _caller(request, given, credentials, browser=False)


async def _owner(caller: Annotated[Caller, Depends(_secret)]) -> Caller:
    if caller.key is None:
        raise KeyRefusedError("this takes a secret API key, and the service has none")
    return caller


Anybody = Annotated[Caller, Depends(_anybody)]
"""Whoever has a key."""
Secret = Annotated[Caller, Depends(_secret)]
"""Whoever has a key that is not publishable, and everybody where the service has no keys."""
Owner = Annotated[Caller, Depends(_owner)]
"""Whoever has a key that is not publishable."""

RequestId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["6f1c0f2f"])]

_ERROR: Final = {"error": {"code": "unknown_item", "message": "...", "request_id": "6f1c0f2f"}}
_MEANINGS: Final = {
    400: "The body is no JSON.",
    401: "The API key is missing or not valid.",
    404: "There is no such item or review.",
    405: "The path does not take the method.",
    413: "The body is too large, or has more questions than the API key may ask in a minute.",
    422: "A field is not valid, or the question cannot be asked.",
    429: "The API key has asked too much; `Retry-After` says when to ask again.",
    500: "The service failed.",
    503: "The service is busy or stops; `Retry-After` says when to ask again.",
    504: "The time was over before the answer was there.",
}

_SAME: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "It is still what `If-None-Match` names."}
}


def _describe_error(status: int) -> dict[str, Any]:
    content = {"application/json": {"example": _ERROR}}
    return {"description": _MEANINGS[status], "content": content}


def _responses(
    example: Any, meaning: str, schema: str | None = None, success: int = 200
) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of a route's responses.

    Args:
        example: of what is returned.
        meaning: of it, as a sentence.
        schema: its name; None: it is any object.
        success: the status.
    """
    kind = {"type": "object"} if schema is None else {"$ref": f"{REFERENCE}{schema}"}
    described: dict[int | str, dict[str, Any]] = {
        status: _describe_error(status) for status in _MEANINGS
    }
    described[success] = {
        "description": meaning,
        "content": {"application/json": {"schema": kind, "example": example}},
    }
    return described


router = APIRouter()


@router.post("/v1/ask", responses=_responses(ANSWERS, "The answers, best first.", "Served"))
async def ask(asked: Ask, request: Request, caller: Anybody) -> Response:
    """Answer a question from the reviews; no answers means that the reviews don't say."""
    service = _service(request)
    await _count(request, caller, 1)
    _tell(request, [asked.question])
    served = await _unless_gone(request, service.ask(asked, _client(request, caller)))
    request.state.told["cached"] = served.cached
    journal = _journal(request)
    await journal.note(request.state.request_id, caller.name, asked, [(asked, served)])
    await journal.count(asked, served, _address(request))
    return _json(
        served.values | {"request_id": request.state.request_id, **_feedback(request)},
        {**_cache_headers(service, served.tag), "x-cache": "hit" if served.cached else "miss"},
    )


@router.post(
    "/v1/ask:batch",
    responses=_responses(
        {"answers": [ANSWERS], "request_id": ANSWERS["request_id"]},
        "The answers to each question, in their order.",
        "ServedBatch",
    ),
)
async def ask_batch(asked: AskBatch, request: Request, caller: Anybody) -> Response:
    """Answer several questions; one that cannot be answered has its own `error`."""
    await _count(request, caller, len(asked.questions))
    _tell(request, [each.question for each in asked.questions])
    all_served = await _unless_gone(
        request, _service(request).ask_batch(asked, _client(request, caller))
    )
    request_id = request.state.request_id
    pairs = list(zip(asked.questions, all_served, strict=True))
    await _journal(request).note(request_id, caller.name, asked, pairs)
    each_has = {"request_id": request_id, **_feedback(request)}
    answers = [served.values | each_has for served in all_served]
    return _json({"answers": answers, "request_id": request_id}, {"cache-control": "no-store"})


@router.post(
    "/v1/feedback",
    status_code=202,
    responses=_responses({"number": 7}, "It was kept.", success=202),
)
async def feedback(given: Feedback, request: Request, caller: Anybody) -> Response:
    """Keep what a shopper says of an answer; 404 if the service takes no feedback."""
    if _journal(request).takes_feedback:
        await _count(request, caller, 1)
    number = await _journal(request).keep_feedback(given, caller.name)
    return _json({"number": number}, {"cache-control": "no-store"}, 202)


@router.get(
    "/v1/items/{item_id:path}/reviews/{review_id:path}",
    responses=_responses({"review_id": "5d0e", "content": "the ZIP. ..."}, "The review.") | _SAME,
)
async def review(item_id: str, review_id: str, request: Request, caller: Anybody) -> Response:  # noqa: ARG001
    """Return a review, in whose `content` an answer's `start` and `end` count characters."""
    return _unless_same(request, *await _service(request).review(item_id, review_id))


@router.get(
    "/v1/items/{item_id:path}/digest",
    responses=_responses({"item_id": "lamp", "aspects": []}, "The digest.") | _SAME,
)
async def digest(item_id: str, request: Request, caller: Anybody) -> Response:  # noqa: ARG001
    """Return what an item's reviews say of its aspects, as `qa-index digest` has kept it."""
    return _unless_same(request, *await _service(request).digest(item_id))


@router.get(
    "/v1/items/{item_id:path}/questions",
    responses=_responses(
        {"item_id": "lamp", "questions": ["Is it bright enough to read by?"]},
        "The most asked first; none where the service does not count them.",
    )
    | _SAME,
)
async def questions(item_id: str, request: Request, caller: Anybody) -> Response:  # noqa: ARG001
    """Return the questions that several clients have asked of an item, and reviews answered."""
    values = {"item_id": item_id, "questions": await _journal(request).most_asked(item_id)}
    return _unless_same(request, values, tag_of(values))


@router.get(
    "/v1/answers/{request_id}",
    responses=_responses(
        {"answers": [RECORD], "older": False, "request_id": "6f1c0f2f"}, "The newest records."
    ),
)
async def answers(request_id: RequestId, request: Request, caller: Owner) -> Response:  # noqa: ARG001
    """Return what the answers to a request were made of, as far as the service keeps it."""
    records, has_older = await _journal(request).find(request_id)
    values = {"answers": records, "older": has_older, "request_id": request_id}
    return _json(values, {"cache-control": "no-store"})


@router.post(
    "/v1/answers/{request_id}:replay",
    responses=_responses(
        {"answers": [REPLAYED], "older": False, "request_id": "6f1c0f2f"}, "What came of it."
    ),
)
async def replay(request_id: RequestId, request: Request, caller: Owner) -> Response:
    """Answer the questions of a request again, and say what is not as it was, and why."""
    service, journal = _service(request), _journal(request)
    records, has_older = await journal.find(request_id)
    await _count(request, caller, len(records))
    all_asked = [
        Ask(**{name: record[name] for name in Ask.model_fields if name in record})
        for record in records
    ]
    _tell(request, [asked.question for asked in all_asked])
    all_served = await _unless_gone(request, service.ask_anew(all_asked, _client(request, caller)))
    replayed = []
    for record, asked, served in zip(records, all_asked, all_served, strict=True):
        now = journal.record(served, asked, asked)
        answer = served.values | {"request_id": request.state.request_id}
        replayed.append({**changes(record, now), "then": record, "now": now, "answer": answer})
    values = {"answers": replayed, "older": has_older, "request_id": request_id}
    return _json(values, {"cache-control": "no-store"})


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", responses={200: {"description": "The process runs."}})
async def live() -> Response:
    """Tell that the process runs."""
    return _json({"status": "live"}, {"cache-control": "no-store"})


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    responses={200: {"description": "Questions are answered."}, 503: {"description": "Not now."}},
)
async def ready(request: Request) -> Response:
    """Tell whether questions are answered: the models are loaded and the store is there."""
    service = _service(request)
    if service.is_stopping:
        raise ClosedError("the service stops")
    await service.refuse_unready()
    return _json({"status": "ready"}, {"cache-control": "no-store"})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "Prometheus's text format."},
        401: _describe_error(401),
    },
)
async def metrics(request: Request, caller: Secret) -> Response:  # noqa: ARG001
    """Return the counts of all workers of this host."""
    text = _service(request).metrics.exposition()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def application(service: Service, keys: Keys, limits: RateLimits) -> FastAPI:
    """Return the application that serves a service.

    Args:
        service: answers; it runs while the application does.
        keys: who may ask.
        limits: how much.
    """
    app = FastAPI(
        title="qa-system",
        version=__version__,
        summary="Answers to shoppers' questions, from customer reviews.",
        docs_url=None,  # its scripts come from another server
        redoc_url=None,
        lifespan=_running,
    )
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            describe()["components"]["schemas"] |= answer_schemas()
        return describe()

    app.openapi = described  # type: ignore[method-assign]
    app.state.service, app.state.keys, app.state.limits = service, keys, limits
    app.state.counting = OwnThread("qa-limits", service.settings.serving.queue)
    app.state.journal = Journal(service)
    app.include_router(router)
    app.mount("/widget", WidgetFiles())
    handle_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=SMALL, compresslevel=COMPRESSION)
    app.add_middleware(Envelope, service=service, routes=router.routes)
    if keys.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=keys.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["ETag", "Retry-After", "X-Request-ID"],
        )
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    async with app.state.service.running(), app.state.journal.running():
        yield
    app.state.counting.close()


def _feedback(request: Request) -> dict[str, bool]:
    """Return what tells a page that the service takes feedback."""
    return {"feedback": True} if _journal(request).takes_feedback else {}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _journal(request: Request) -> Journal:
    journal: Journal = request.app.state.journal
    return journal


async def _count(request: Request, caller: Caller, questions: int) -> None:
    """Count questions against the key's limit.

    Raises:
        RateLimitedError: they are too many for now.
        RequestTooLargeError: they are too many at once.
        OverloadedError: they cannot be counted now.
    """
    if caller.key is None or caller.key.per_minute is None:
        return
    limits: RateLimits = request.app.state.limits
    counting: OwnThread = request.app.state.counting
    wait = await counting.run(limits.take, caller.name, caller.key.per_minute, questions)
    if wait:
        raise RateLimitedError(RateLimitedError.public_message, retry_after=math.ceil(wait))


def _client(request: Request, caller: Caller) -> str:
    """Return whose turn it is: shoppers have one each, also behind a proxy that has the key."""
    return f"{caller.name} {_address(request)}"


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _tell(request: Request, questions: list[str]) -> None:
    request.state.told["questions"] = len(questions)
    if _service(request).settings.serving.log_questions:
        request.state.told["text"] = questions


async def _unless_gone(request: Request, answer: Awaitable[Result]) -> Result:
    """Wait for an answer; if the client goes, stop working on it.

    Raises:
        ClientGoneError: nobody will read this.
    """
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGoneError(ClientGoneError.public_message)
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(values: Mapping[str, Any], headers: Mapping[str, str], status: int = 200) -> Response:
    written = orjson.dumps(values, option=orjson.OPT_NON_STR_KEYS)
    return Response(written, status, dict(headers), media_type="application/json")


def _unless_same(request: Request, values: Mapping[str, Any], tag: str) -> Response:
    """Return values, or that they are those that the client has."""
    headers = _cache_headers(_service(request), tag)
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers={**headers, "vary": "Accept-Encoding"})
    return _json(values, headers)


def _cache_headers(service: Service, tag: str) -> dict[str, str]:
    seconds = service.settings.serving.cache_seconds
    return {"etag": f'W/"{tag}"', "cache-control": f"private, max-age={seconds}"}
