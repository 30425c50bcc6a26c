"""Labelled questions of a data set as texts with labels: one of its fields, or the answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.metrics import f1
from qa_system.records import Label

__all__ = ["ANSWER", "Example", "examples_of", "is_right"]

ANSWER: Final = "answer"
"""The field that stands for the answers themselves."""
RIGHT: Final = 0.5
"""The F1 from which on an answer is right, as in `qa-eval`."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its labels.

    Args:
        text: the question.
        labels: what it was labelled with; none: nothing.
        item_id: the item that an answer is of; None for other labels, which hold for all items.
    """

    text: str
    labels: tuple[str, ...]
    item_id: str | None = None


def examples_of(labels: Iterable[Label], field: str) -> list[Example]:
    """Return labelled questions as examples, in order, each once.

    Args:
        labels: of a data set.
        field: `answer`; or a field of the labels' metadata, whose values are the labels: a list
            has several.

    Raises:
        DataError: no label has the field.

    >>> label = Label("q", "Is it loud?", "fan", "r", "It hums.", (), meta={"aspect": "noise"})
    >>> examples_of([label], "aspect")
    [Example(text='Is it loud?', labels=('noise',), item_id=None)]
    """
    every = list(labels)
    if field == ANSWER:
        found = [Example(each.question, gold_texts(each), each.item_id) for each in every]
    else:
        if not any(field in each.meta for each in every):
            known = sorted({name for each in every for name in each.meta})
            raise DataError(
                f"no label has the field {field!r}",
                where=every[0].split if every else None,
                remedy=f"Fields there: {', '.join([ANSWER, *known])}.",
            )
        found = [Example(each.question, _values(each.meta.get(field))) for each in every]
    return list(dict.fromkeys(found))


def is_right(field: str, label: str, gold: Sequence[str]) -> bool:
    """Tell whether a label is one of those that are right; an answer, from an F1 of .5 on.

    >>> is_right("aspect", "noise", ["noise"]), is_right(ANSWER, "very loud", ["loud"])
    (True, True)
    """
    return f1(label, gold) >= RIGHT if field == ANSWER and gold else label in gold


def _values(found: object) -> tuple[str, ...]:
    if found is None or found == "":
        return ()
    if isinstance(found, list | tuple):
        return tuple(dict.fromkeys(str(each) for each in found))
    return (str(found),)
