"""The HTTP API behind the page: the next task, a label, a step back, the agreement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.staticfiles import StaticFiles

from qa_system import __version__
from qa_system.annotation.agreement import Agreement
from qa_system.annotation.annotations import Annotations, State
from qa_system.annotation.guard import Guard
from qa_system.annotation.tasks import Task
from qa_system.opinions import Polarity
from qa_system.records import AnswerSpan
from qa_system.serving.envelope import handle_errors
from qa_system.serving.errors import InvalidRequestError, NotFoundError

__all__ = ["application"]

PAGE: Final = Path(__file__).parent / "page"

TaskId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["0" * 32])]


class Span(BaseModel):
    """A stretch of the review's text, in characters."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    start: Annotated[int, Field(ge=0, examples=[14])]
    end: Annotated[int, Field(ge=1, examples=[40])]


class LabelGiven(BaseModel):
    """What an annotator says of a task."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task_id: TaskId
    span: Span | None
    """The words that answer; null: the review does not say."""
    polarity: Polarity | None = None
    """Whether they are good or bad for the item; null: not judged."""


class Skipped(BaseModel):
    """A task that is put at the end."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task_id: TaskId


class Suggestion(Span):
    """What the reader marked."""

    score: float
    """Its confidence, 0 to 1."""
    threshold: float
    """From this score on, the reader gives an answer."""


class TaskShown(BaseModel):
    """A question and a review."""

    id: str
    question: str
    item_id: str | None
    review_id: str
    text: str
    suggestion: Suggestion | None


class Said(BaseModel):
    """What was taken back."""

    span: Span | None
    polarity: Polarity | None


class Place(BaseModel):
    """Where an annotator is."""

    annotator: str
    task: TaskShown | None
    """The one to do now; null: all are labelled."""
    labelled: int
    skipped: int
    tasks: int
    last_saved: str | None
    """When the newest label was written."""
    previous: Said | None
    """What the annotator had said of the task before it was taken back."""


class Agreements(BaseModel):
    """The agreement of each pair of annotators."""

    pairs: list[Agreement]


bearer = HTTPBearer(auto_error=False, description="The token that stands behind `#token=`.")


async def _annotator(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],  # for /openapi.json
) -> str:
    name: str = request.state.annotator  # the guard has read the token
    return name


Annotator = Annotated[str, Depends(_annotator)]

router = APIRouter(prefix="/v1")


@router.get("/tasks/next")
def next_task(request: Request, annotator: Annotator) -> Place:
    """Return the task to do now, and the progress."""
    return _place(annotator, _annotations(request).state(annotator))


@router.post("/labels")
def write_label(given: LabelGiven, request: Request, annotator: Annotator) -> Place:
    """Write a label, in place of the annotator's earlier one; return the next task."""
    annotations = _annotations(request)
    task = annotations.tasks.get(given.task_id)
    if task is None:
        raise NotFoundError("There is no such task.")
    span = None if given.span is None else _span(task.text, given.span)
    if span is None and given.polarity is not None:
        raise InvalidRequestError("polarity: there is none where the review does not say")
    return _place(annotator, annotations.mark(annotator, task, span, given.polarity))


@router.post("/skips")
def skip(given: Skipped, request: Request, annotator: Annotator) -> Place:
    """Put a task at the end; return the next one."""
    state = _annotations(request).skip(annotator, given.task_id)
    if state is None:
        raise NotFoundError("The annotator has no such task to do.")
    return _place(annotator, state)


@router.post("/undo")
def undo(request: Request, annotator: Annotator) -> Place:
    """Take back the last label, which is deleted, or skip; return its task."""
    return _place(annotator, _annotations(request).undo(annotator))


@router.get("/agreement")
def agreement(request: Request, annotator: Annotator) -> Agreements:  # noqa: ARG001
    """Return how far the annotators of the store agree."""
    return Agreements(pairs=_annotations(request).agreements())


def application(annotations: Annotations, tokens: Mapping[str, str], name: str) -> FastAPI:
    """Return the application that serves the page and its API.

    Args:
        annotations: has the tasks and takes the labels.
        tokens: the annotator whom each belongs to.
        name: of the host that it listens on.
    """
    app = FastAPI(
        title="qa annotate",
        version=__version__,
        summary="Mark answers in reviews.",
        docs_url=None,  # its scripts come from another server
        redoc_url=None,
    )
    app.state.annotations = annotations
    app.include_router(router)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    handle_errors(app)
    app.add_middleware(Guard, name=name, tokens=tokens)
    return app


def _annotations(request: Request) -> Annotations:
    annotations: Annotations = request.app.state.annotations
    return annotations


def _span(text: str, given: Span) -> AnswerSpan:
    """Return the span of a text.

    Raises:
        InvalidRequestError: it has no words, or is not inside.
    """
    if given.end > len(text) or not text[given.start : given.end].strip():
        raise InvalidRequestError("span: it has words of the review, from start to before end")
    return AnswerSpan(text[given.start : given.end], given.start, given.end)


def _place(annotator: str, state: State) -> Place:
    before = state.previous
    return Place(
        annotator=annotator,
        task=None if state.task is None else _shown(state.task),
        labelled=state.labelled,
        skipped=state.skipped,
        tasks=state.tasks,
        last_saved=state.last_saved,
        previous=None
        if before is None
        else Said(
            span=None if before.span is None else Span(**_ends(before.span)),
            polarity=before.polarity,
        ),
    )


def _shown(task: Task) -> TaskShown:
    marked = task.suggestion
    return TaskShown(
        id=task.id,
        question=task.question,
        item_id=task.item_id,
        review_id=task.review_id,
        text=task.text,
        suggestion=None
        if marked is None
        else Suggestion(**_ends(marked), score=task.score, threshold=task.threshold),
    )


def _ends(span: AnswerSpan) -> dict[str, int]:
    return {"start": span.start, "end": span.end}
