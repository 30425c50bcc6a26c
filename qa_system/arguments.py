"""The arguments of the Python API, checked in one place: texts, ids, numbers of results.

`checked` checks every public method of a class. It goes by the arguments' names, so that `top_k`
or `item_id` is refused in the same words by every store, retriever, ranker, reader and generator,
and a method that is added is checked as well. The async variants call the checked methods.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from math import inf
from sys import float_info
from types import UnionType
from typing import Any, Final, TypeVar, cast

from qa_system.errors import ConfigError, EmptyQuestionError, InvalidArgumentError

__all__ = [
    "LEAST_POSITIVE",
    "MOST",
    "NAMES",
    "check_choice",
    "check_count",
    "check_documents",
    "check_filters",
    "check_number",
    "check_question",
    "check_text",
    "check_texts",
    "check_texts_inside",
    "checked",
    "number_in",
]

Class = TypeVar("Class", bound=type)

MOST: Final = 2**31 - 1
"""No number of results is larger: what counts them has 32 bits in some libraries."""
LEAST_POSITIVE: Final = 1e-9
"""Of numbers that have to be above 0."""
SHOWN: Final = 60


def check_text(name: str, value: object) -> None:
    """Refuse what is no text, and text that UTF-8 cannot hold.

    Args:
        name: of the argument, for the message.
        value: to check.

    Raises:
        InvalidArgumentError: saying what it is.

    >>> check_text("item_id", 100)
    Traceback (most recent call last):
        ...
    qa_system.errors.InvalidArgumentError: item_id is 100, not a text. Pass a str.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} is {_shown(value)}, not a text", remedy="Pass a str.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}, whose character {error.start + 1} is half a character "
            "(a lone surrogate)",
            remedy="Pass text that UTF-8 can hold; on a command line, write in UTF-8.",
        ) from None


def check_texts(name: str, value: object) -> None:
    """Refuse what is no list of texts.

    Raises:
        InvalidArgumentError: saying what it is.
    """
    if not isinstance(value, list | tuple):
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}, not a list of texts", remedy="Pass a list of str."
        )
    for place, each in enumerate(value):
        check_text(f"{name}[{place}]", each)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number, and one that is too small or too large.

    Raises:
        InvalidArgumentError: saying what it is.

    >>> check_count("top_k", -1)
    Traceback (most recent call last):
        ...
    qa_system.errors.InvalidArgumentError: top_k is -1. Set it to 1 or more.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}, not a whole number", remedy="Pass an int."
        )
    if value < least:
        raise InvalidArgumentError(f"{name} is {value}", remedy=f"Set it to {least} or more.")
    if value > MOST:
        raise InvalidArgumentError(f"{name} is {value}", remedy=f"Set it to {MOST} at most.")


def check_number(name: str, value: object, most: float = inf, least: float = 0) -> None:
    """Refuse what is no finite number, and one that is too small or too large.

    Raises:
        InvalidArgumentError: saying what it is.

    >>> check_number("bm25_weight", 1.5, most=1)
    Traceback (most recent call last):
        ...
    qa_system.errors.InvalidArgumentError: bm25_weight is 1.5. Set it to a number from 0 to 1.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    lowest, highest = max(least, -float_info.max), min(most, float_info.max)
    if not is_number or not lowest <= cast("float", value) <= highest:
        lower = "" if least == -inf else f" from {least:g}"
        upper = "" if least == -inf else " on" if most == inf else f" to {most:g}"
        raise InvalidArgumentError(
            f"{name} is {_shown(value)}", remedy=f"Set it to a number{lower}{upper}."
        )


def number_in(entry: Mapping[str, Any], name: str, least: float = -inf, most: float = inf) -> float:
    """Return a number that a file has under a name.

    Args:
        entry: read from JSON.
        name: the key.
        least: what it may be at least.
        most: what it may be at most.

    Raises:
        InvalidArgumentError: it is no finite number, too small or too large.
        KeyError: there is none.

    >>> number_in({"threshold": 0.5}, "threshold", 0, 1)
    0.5
    """
    check_number(name, entry[name], most, least)
    return float(entry[name])


def check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        name: of the argument that has the value.
        value: to check.
        choices: None among them lets the value be None.

    Raises:
        ConfigError: naming the choices.

    >>> check_choice("similarity", "dot", ("cosine", "l2"))
    Traceback (most recent call last):
        ...
    qa_system.errors.ConfigError: there is no similarity 'dot'. Choose of: cosine, l2.
    """
    if value not in choices:
        named = ", ".join(each for each in choices if each is not None)
        raise ConfigError(f"there is no {name} {value!r}", remedy=f"Choose of: {named}.")


def check_filters(name: str, value: object) -> None:
    """Refuse None, and a filter with text that UTF-8 cannot hold; the stores check the rest.

    Raises:
        InvalidArgumentError: saying what it is.
    """
    if value is None:
        raise InvalidArgumentError(f"{name} is None", remedy="Pass {} for all documents.")
    check_texts_inside(name, value)


def check_texts_inside(name: str, value: object) -> None:
    """Refuse text that UTF-8 cannot hold, wherever it stands in lists and dictionaries.

    Raises:
        InvalidArgumentError: saying what it is.
    """
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            check_text(f"a text in {name}", part)
        elif isinstance(part, Mapping):
            parts += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            parts += part


def check_documents(name: str, value: object) -> None:
    """Refuse what is no list, and documents whose content UTF-8 cannot hold.

    Args:
        name: of the argument, for the message.
        value: documents; of several questions, a list of them for each.

    Raises:
        InvalidArgumentError: naming the document.
    """
    _check_kind(name, value, kind=list | tuple, said="a list")
    for each in cast("Sequence[object]", value):
        if isinstance(each, list | tuple):
            check_documents(name, each)
        content = getattr(each, "content", None)
        if isinstance(content, str) and not content.isascii():
            check_text(f"the content of {each.id!r} in {name}", content)  # type: ignore[attr-defined]


def check_question(value: object, name: str = "question") -> None:
    """Refuse what is no question: no text, or text without words.

    Raises:
        InvalidArgumentError: it is no text.
        EmptyQuestionError: it has no words.

    >>> check_question("?!")
    Traceback (most recent call last):
        ...
    qa_system.errors.EmptyQuestionError: question '?!' has no words. Ask something.
    """
    check_text(name, value)
    if not any(map(str.isalnum, str(value))):
        raise EmptyQuestionError(f"{name} {_shown(value)} has no words", remedy="Ask something.")


def _check_kind(name: str, value: object, *, kind: type | UnionType, said: str) -> None:
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} is {_shown(value)}, not {said}", remedy=f"Pass {said}.")


def _check_policy(name: str, value: object) -> None:
    from haystack.document_stores.types import DuplicatePolicy

    _check_kind(name, value, kind=DuplicatePolicy, said="a DuplicatePolicy")


COUNTS: Final = {
    "batch_size": 1,
    "batch_tokens": 1,
    "budget": 1,
    "from_": 0,
    "max_answer_length": 1,
    "max_length": 2,
    "max_review_chars": 1,
    "max_seq_length": 16,
    "max_source_length": 16,
    "num_beams": 1,
    "size": 0,
    "snippet_chars": 1,
    "stride": 0,
    "threads": 1,
    "top_k": 1,
}
"""Arguments that are whole numbers, and the least that each may be."""

NAMES: Final[Mapping[str, Callable[[str, object], None]]] = {
    **dict.fromkeys(
        ("group", "item_id", "metadata_field", "query", "question", "search_term", "split", "text"),
        check_text,
    ),
    **dict.fromkeys(
        ("document_ids", "item_ids", "metadata_fields", "review_ids", "stale_ids"), check_texts
    ),
    **dict.fromkeys(
        ("by_item", "check_reviews", "recreate_index", "whole_ties"),
        partial(_check_kind, kind=bool, said="a bool"),
    ),
    **{name: partial(check_count, least=least) for name, least in COUNTS.items()},
    "bm25_weight": partial(check_number, most=1),
    "documents": check_documents,
    "filters": check_filters,
    **dict.fromkeys(("labels", "stale"), partial(_check_kind, kind=Iterable, said="labels")),
    "meta": partial(_check_kind, kind=Mapping, said="a dictionary"),
    "path": partial(_check_kind, kind=str | os.PathLike, said="a path"),
    "policy": _check_policy,
    "decided": partial(check_number, most=1),
    "mention": partial(check_number, most=1),
    "min_reviews": check_count,
    "relevant": check_number,
    "same_stance": check_number,
}
"""What is checked, by the name of the argument."""


def checked(cls: Class) -> Class:
    """Check the arguments of a class's public methods: those whose names are in `NAMES`.

    None passes where it is the argument's default.

    >>> @checked
    ... class Shelf:
    ...     def take(self, top_k: int = 3) -> int:
    ...         return top_k
    >>> Shelf().take()
    3
    >>> Shelf().take(top_k=True)
    Traceback (most recent call last):
        ...
    qa_system.errors.InvalidArgumentError: top_k is True, not a whole number. Pass an int.
    """
    for name, method in list(vars(cls).items()):
        is_public = not name.startswith("_") or name == "__init__"
        if is_public and inspect.isfunction(method) and not inspect.iscoroutinefunction(method):
            setattr(cls, name, _checking(method))
    return cls


def _checking(method: Callable[..., Any]) -> Callable[..., Any]:
    parameters = enumerate(inspect.signature(method).parameters.values())
    checks = [
        (place, each.name, NAMES[each.name], each.default is None)
        for place, each in parameters
        if each.name in NAMES
    ]
    if not checks:
        return method

    @wraps(method)
    def run(*args: Any, **given: Any) -> Any:
        for place, name, check, may_be_none in checks:
            if name in given:
                value = given[name]
            elif place < len(args):
                value = args[place]
            else:
                continue  # the default
            if value is not None or not may_be_none:
                check(name, value)
        return method(*args, **given)

    return run


def _shown(value: object) -> str:
    text = repr(value)  # which spells half a character as its number
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
