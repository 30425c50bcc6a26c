"""What requests hold, checked, and examples of what is returned."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from qa_system.config import ServingSettings
from qa_system.config.choices import AnswerMode
from qa_system.opinions import Decision
from qa_system.records import Answer, Answers, Question
from qa_system.serving.errors import InvalidRequestError
from qa_system.serving.kept.records import changes, record_of

__all__ = [
    "ANSWERS",
    "RECORD",
    "REFERENCE",
    "REPLAYED",
    "Ask",
    "AskBatch",
    "Asked",
    "answer_schemas",
    "key_of",
    "refuse_excess",
]


class Asked(BaseModel):
    """A question and what it is about."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    question: Annotated[str, Field(min_length=1, examples=["How is the zipper?"])]
    """In plain words."""
    item_id: Annotated[str | None, Field(examples=["jacket-drizzlecrest-shell"])]
    """The item asked about; null asks all reviews."""
    filters: Annotated[
        dict[str, Any] | None,
        Field(examples=[{"field": "meta.stars", "operator": ">=", "value": 4}]),
    ] = None
    """Haystack filters on the reviews' metadata."""

    @field_validator("filters")
    @classmethod
    def _is_json(cls, filters: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            orjson.dumps(filters)
            json.dumps(filters, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("it holds a number or a text that JSON cannot hold") from None
        return filters

    def as_question(self) -> Question:
        """Return the question as it is read: spaces that mean nothing are left out."""
        return Question(" ".join(self.question.split()), self.item_id, self.filters or None)


class _Manner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    top_k: Annotated[int, Field(ge=1, examples=[3])] = 3
    """Answers to a question at most."""
    mode: AnswerMode = "extract"
    """Words of reviews, generated answers that reviews support, or those and else words."""
    timeout_ms: Annotated[int | None, Field(ge=1, examples=[2000])] = None
    """After which the request is given up; null: as the service is set."""


class Ask(Asked, _Manner):
    """One question."""


class AskBatch(_Manner):
    """Several questions, which are read together."""

    questions: Annotated[list[Asked], Field(min_length=1)]


def refuse_excess(asked: Ask | AskBatch, limits: ServingSettings) -> None:
    """Refuse a request that wants more than the service is set to give.

    Raises:
        InvalidRequestError: naming the field and its limit.
    """
    questions = asked.questions if isinstance(asked, AskBatch) else [asked]
    if len(questions) > limits.max_questions:
        raise InvalidRequestError(f"questions: there may be {limits.max_questions} at most")
    if any(len(each.question) > limits.max_question_chars for each in questions):
        raise InvalidRequestError(
            f"question: it may have {limits.max_question_chars} characters at most"
        )
    if asked.top_k > limits.max_top_k:
        raise InvalidRequestError(f"top_k: it may be {limits.max_top_k} at most")
    if asked.mode not in limits.modes:
        raise InvalidRequestError(f"mode: it may be {', '.join(limits.modes)}")
    if asked.timeout_ms is not None and asked.timeout_ms > limits.max_timeout_ms:
        raise InvalidRequestError(f"timeout_ms: it may be {limits.max_timeout_ms} at most")


def key_of(question: Question, top_k: int, mode: AnswerMode) -> bytes | None:
    """Return 16 bytes that are the same for, and only for, the same question asked alike.

    Of a question that UTF-8 or JSON cannot hold there is no key: it has no answer to be kept.

    >>> key_of(Question("Loud?", "a"), 3, "extract") == key_of(Question("Loud?", "b"), 3, "extract")
    False
    """
    parts = [question.item_id, question.text, question.filters, top_k, mode]
    try:
        written = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
    return hashlib.blake2b(written, digest_size=16).digest()


REFERENCE: Final = "#/components/schemas/"


def answer_schemas() -> dict[str, Any]:
    """Return what OpenAPI lists as schemas: those of `answers.schema.json`, and of responses.

    >>> sorted(answer_schemas())
    ['Answers', 'Served', 'ServedBatch', 'answer', 'point', 'quote']
    """
    written = files("qa_system").joinpath("answers.schema.json").read_text(encoding="utf-8")
    answers: dict[str, Any] = json.loads(written.replace("#/$defs/", REFERENCE))
    del answers["$schema"]
    named: dict[str, Any] = {
        "properties": {"request_id": {"type": "string"}},
        "required": ["request_id"],
    }
    takes = {"feedback": {"const": True, "description": "There if the service takes feedback."}}
    served = {**named, "properties": {**named["properties"], **takes}}
    each = {"type": "array", "items": {"$ref": f"{REFERENCE}Served"}}
    return {
        **answers.pop("$defs"),
        "Answers": answers,
        "Served": {"allOf": [{"$ref": f"{REFERENCE}Answers"}, {"type": "object", **served}]},
        "ServedBatch": {
            "type": "object",
            "properties": {"answers": each, **named["properties"]},
            "required": ["answers", *named["required"]],
        },
    }


ITEM: Final = "jacket-drizzlecrest-shell"
ANSWERS: Final[dict[str, Any]] = Answers(
    question="How is the zipper?",
    item_id=ITEM,
    answers=(
        Answer(
            text="it catches the flap inside",
            confidence=0.47,
            review_id="5d0e",
            item_id=ITEM,
            start=14,
            end=40,
            snippet="the ZIP. it catches the flap inside every. single. time.",
            meta={"stars": 1},
        ),
    ),
    decision=Decision(0.47, 0.31),
    read=8,
    considered=6,
    reviews=14,
    mentions=1,
    generation=2,
    timings={"total": 0.04},
).to_dict() | {"request_id": "6f1c0f2f7bb24f0d"}
"""An answer about the sample, as `POST /v1/ask` returns it."""
_VERSIONS: Final = {
    "models": {"bundled:reader": "9f2c..."},
    "settings": "51ab...",
    "qa_system": "0.2.0",
}
_ASKED: Final = {**Ask(question="How is the zipper?", item_id=ITEM).model_dump(), "cached": False}
del _ASKED["timeout_ms"]
_EVIDENCE: Final = [{"review_id": "5d0e", "score": 0.71}, {"review_id": "77aa", "score": 0.52}]
RECORD: Final[dict[str, Any]] = {
    "request_id": "6f1c0f2f",
    "at": "2026-05-01T12:00:00.000+00:00",
    "key": "shop-backend",
    **record_of(ANSWERS, _EVIDENCE, _ASKED, _VERSIONS),
}
"""What that answer was made of, as `GET /v1/answers/{request_id}` returns it."""
_LATER: Final = record_of({**ANSWERS, "generation": 3}, _EVIDENCE, _ASKED, _VERSIONS)
REPLAYED: Final[dict[str, Any]] = {
    **changes(RECORD, _LATER),
    "then": RECORD,
    "now": _LATER,
    "answer": ANSWERS,
}
"""The same answer, given again after a write, as `POST /v1/answers/{request_id}:replay` does."""
