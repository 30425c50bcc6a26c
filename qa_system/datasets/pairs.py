"""Labelled pairs of a question and a text as JSON Lines, from which a judge learns.

    {"question": "Is it loud?", "text": "Very loud.", "answers": 1, "stance": "yes"}

Required: `question`, and the text. That is `text`, or, where a text must not be copied, a stretch
of a review that stands elsewhere: `review_id`, `start`, `end`, and, as a check, `sha256`, the first
hexadecimal digits of the stretch's digest.
Labels, any of them: `answers` (whether the text answers the question, 0 to 1), `stance` (`yes`,
`no` or `mixed`), `polarity` (`for`, `against`, `neither` or `mixed`) and `subjective` (whether it
is an opinion, 0 to 1). Where annotators differ, a stance or polarity may be their shares, as in
`{"for": 0.75, "neither": 0.25}`. null is as good as no label.
Optional: `id`, and `item_id`, the item that the text is about. Other fields are not looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qa_system.datasets.normal_form import is_blank
from qa_system.errors import DataError
from qa_system.judging.judgements import HEADS

__all__ = ["Pair", "read_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a text, with what annotators say of them.

    Args:
        question: what is asked.
        text: normally a sentence.
        labels: of some of the judge's heads, a share for each of the head's classes.
        item_id: the item that the text is about, where that is known.
        id: of the pair, where it has one.
    """

    question: str
    text: str
    labels: Mapping[str, tuple[float, ...]]
    item_id: str | None = None
    id: str | None = None


def read_pairs(path: str | Path, reviews: Mapping[str, str] | None = None) -> list[Pair]:
    """Read labelled pairs, one a line.

    Args:
        path: a JSON Lines file in UTF-8; empty lines are skipped.
        reviews: the texts of reviews by their ids, where lines name stretches of them.

    Raises:
        DataError: the file cannot be read, a line is wrong, a review is not there or reads
            otherwise than it did, or no line is there.

    >>> folder = getfixture("tmp_path")
    >>> line = '{"question": "Is it loud?", "text": "Very.", "answers": 1, "polarity": "neither"}'
    >>> _ = (folder / "pairs.jsonl").write_text(line)
    >>> read_pairs(folder / "pairs.jsonl")[0].labels
    {'answers': (1.0,), 'polarity': (0.0, 0.0, 1.0, 0.0)}
    """
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    pairs = [
        _pair(line, reviews or {}, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not pairs:
        raise DataError("no pair is there", where=str(path))
    return pairs


def _pair(line: bytes, reviews: Mapping[str, str], where: str) -> Pair:
    try:
        tree = orjson.loads(line)
        if not isinstance(tree, dict):
            raise ValueError("it is not an object")
        question, text = tree.get("question"), tree.get("text")
        if text is None:
            text = _stretch(tree, reviews)
        for name, value in (("question", question), ("text", text)):
            if not isinstance(value, str) or is_blank(value):
                raise ValueError(f"{name} is {value!r:.60}, not a text")
        labels = {
            name: _shares(name, tree[name], classes)
            for name, classes in HEADS.items()
            if tree.get(name) is not None
        }
        ids = [None if tree.get(key) is None else str(tree[key]) for key in ("item_id", "id")]
        return Pair(str(question), text, labels, *ids)
    except (ValueError, KeyError, TypeError) as error:
        said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"the pair cannot be used: {said}",
            where=where,
            remedy='A line is an object such as {"question": "Is it loud?", "text": "Very loud.", '
            '"answers": 1, "stance": "yes"}.',
        ) from error


def _stretch(tree: Mapping[str, Any], reviews: Mapping[str, str]) -> str:
    review_id, start, end = tree["review_id"], tree["start"], tree["end"]
    if review_id not in reviews:
        raise ValueError(f"there is no review {review_id!r}; name the data set that has it")
    text = reviews[review_id][start:end]
    expected = tree.get("sha256")
    if expected and not hashlib.sha256(text.encode()).hexdigest().startswith(expected):
        raise ValueError(f"review {review_id!r} reads otherwise than when it was labelled")
    return text


def _shares(name: str, given: object, classes: tuple[str, ...]) -> tuple[float, ...]:
    if len(classes) == 1:
        if not isinstance(given, int | float) or not 0 <= given <= 1:
            raise ValueError(f"{name} is {given!r:.60}, not a number from 0 to 1")
        return (float(given),)
    shares = given if isinstance(given, Mapping) else {given: 1.0}
    if unknown := [each for each in shares if each not in classes]:
        raise ValueError(f"{name} is {unknown[0]!r:.60}, none of {', '.join(classes)}")
    total = sum(shares.values())
    if not total > 0 or min(shares.values()) < 0:
        raise ValueError(f"the shares of {name} are {given!r:.60}")
    return tuple(shares.get(each, 0.0) / total for each in classes)
