"""Fields of a question in JSON, read alike from SQuAD and from JSON Lines: ids and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qa_system.datasets.normal_form import Given, is_blank

__all__ = ["answer_errors", "answers_of", "id_of", "is_id"]

_STARTS = ("start", "answer_start")


def is_id(value: object) -> bool:
    """Tell whether a value can be an id: a text, or a whole number, which some tools write.

    >>> is_id("7"), is_id(7), is_id(True)
    (True, True, False)
    """
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def id_of(value: Any) -> str | None:
    """Return an id as text; None for null.

    >>> id_of(7), id_of("7"), id_of(None)
    ('7', '7', None)
    """
    return None if value is None else str(value)


def answers_of(value: Any) -> list[Given]:
    """Return answers that `answer_errors` finds nothing wrong with.

    >>> answers_of(["bass", {"text": "loud", "start": 4}, None])
    [Given(text='bass', start=None), Given(text='loud', start=4), Given(text=None, start=None)]
    >>> answers_of({"text": ["bass"], "answer_start": [0.0]})
    [Given(text='bass', start=0)]
    """
    return [_given(answer) for answer in _listed(value)]


def answer_errors(value: Any, name: str, others: frozenset[str] | None = None) -> list[str]:
    """Return what is wrong with answers, as sentences.

    Args:
        value: null or a blank text (no answer); a list of texts, nulls and objects with `text` and
            `start` or `answer_start`; or one object with a list of each, as `datasets` writes them.
        name: of the field, for the sentences.
        others: further keys that an answer may have; None: any.
    """
    if isinstance(value, dict) and not _is_columns(value):
        return [f"{name!r} is neither a list nor lists of texts and starts"]
    if value is not None and not isinstance(value, list | dict | str):
        return [f"{name!r} is not a list"]
    if isinstance(value, str) and not is_blank(value):
        return [f"{name!r} is not a list"]
    errors = []
    for number, answer in enumerate(_listed(value)):
        place = f"{name}[{number}]"
        if answer is None or isinstance(answer, str):
            continue
        if not isinstance(answer, dict) or not isinstance(answer.get("text", 0), str | None):
            errors.append(f"{place} is neither a text nor has one")
            continue
        starts = [key for key in _STARTS if key in answer]
        for key in starts:
            start = answer[key]
            if start is not None and not _is_whole(start):
                errors.append(f"{place}.{key} is {start!r:.40}, not a whole number")
        known = {"text", *starts[:1], *(others or ())}
        errors += [
            f"{place} has {key!r}" for key in answer if others is not None and key not in known
        ]
    return errors


def _is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number; pandas writes 5 as 5.0 beside a missing one."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    """Return a list of answers, however they are laid out."""
    if value is None or isinstance(value, str):
        return []
    if isinstance(value, Mapping):
        texts = value["text"]
        starts = next((value[key] for key in _STARTS if key in value), [None] * len(texts))
        return [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]
    return list(value)


def _is_columns(value: Mapping[str, Any]) -> bool:
    texts = value.get("text")
    starts = next((value[key] for key in _STARTS if key in value), texts)
    return isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)


def _given(answer: Any) -> Given:
    if answer is None or isinstance(answer, str):
        return Given(answer)
    start = next((answer[key] for key in _STARTS if key in answer), None)
    return Given(answer["text"], None if start is None else int(start))
