"""What an answer was made of, without words of reviews; and what differs when it is given again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

__all__ = ["changes", "record_of", "reviews_in"]

ANSWER: Final = ("answers", "points", "verdict", "abstained", "words")
"""Fields of a record that say what was answered."""
ORIGIN: Final = ("generation", "models", "settings", "qa_system", "evidence")
"""Fields of a record that say what it was answered from."""
ROUNDING: Final = 1e-3
"""By how much the scores of the same answer may differ: questions are read together with others."""

Values = Mapping[str, Any]


def record_of(
    values: Values, evidence: Sequence[Values], asked: Values, versions: Values
) -> dict[str, Any]:
    """Return the record of an answer.

    Args:
        values: `Answers.to_dict()`.
        evidence: the reviews that were read, best first: `review_id` and `score`.
        asked: what was asked, and how.
        versions: of the models, the settings and the program.
    """
    spans = ("review_id", "start", "end")
    return {
        **asked,
        **versions,
        "generation": values["generation"],
        "reviews": values["reviews"],
        "considered": values["considered"],
        "evidence": list(evidence),
        "score": values["score"],
        "threshold": values["threshold"],
        "abstained": values["abstained"],
        "verdict": values["verdict"],
        "answers": [
            {**_some(each, (*spans, "confidence", "support", "generated")), "sources": _ids(each)}
            for each in values["answers"]
        ],
        "points": [
            {
                **_some(each, ("support", "polarity", "stance")),
                "quotes": [_some(quote, spans) for quote in each["quotes"]],
            }
            for each in values["points"]
        ],
        "words": _hash_of_words(values),
    }


def changes(before: Values, after: Values) -> dict[str, Any]:
    """Return whether two records have the same answer, and what differs.

    Args:
        before: a record.
        after: of the same question, asked later.

    Returns:
        `same`; `differs`, the names of what was answered otherwise; `changed`, the names of what
        it is answered from that is not what it was.
    """
    differs = [name for name in ANSWER if _rounded(before[name]) != _rounded(after[name])]
    if not _is_close(before["score"], after["score"]):
        differs.append("score")
    changed = [name for name in ORIGIN if _rounded(before[name]) != _rounded(after[name])]
    return {"same": not differs, "differs": differs, "changed": changed}


def reviews_in(record: Values) -> set[str]:
    """Return the ids of the reviews that a record names."""
    named = [*record["evidence"], *record["answers"]]
    named += [quote for point in record["points"] for quote in point["quotes"]]
    found = {each["review_id"] for each in named}
    found |= {source["review_id"] for each in record["answers"] for source in each["sources"]}
    return found - {None}


def _some(values: Values, names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _ids(answer: Values) -> list[dict[str, str]]:
    return [{"review_id": each} for each in answer["sources"]]


def _hash_of_words(values: Values) -> str:
    """Return a hash of the words that were shown: they may be a model's own, and in no review."""
    answers = [each["text"] for each in values["answers"]]
    labels = [each["label"] for each in values["points"]]
    return hashlib.blake2b(orjson.dumps([answers, labels]), digest_size=12).hexdigest()


def _rounded(value: Any) -> Any:
    """Return a value without what rounding may change: its fractions."""
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items() if not isinstance(each, float)}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value


def _is_close(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, abs_tol=ROUNDING)
