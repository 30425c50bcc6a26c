"""`generator.json`: what a generator must be told to be used as it was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import orjson

from qa_system.errors import ModelError

__all__ = ["GENERATOR", "GeneratorFacts", "Mode", "read_facts", "write_facts"]

Mode = Literal["token", "sequence"]

WRITTEN = ("answers", "questions")

GENERATOR = "generator.json"
"""The file that training writes to the checkpoint's folder: `GeneratorFacts`."""


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What a generator must be told to be used as it was trained.

    Args:
        template: see `layout.SourceLayout`.
        max_source_length: tokens of question and document at most, special tokens included.
        max_answer_length: tokens of an answer at most, its end included.
        score_scale: factor of a document's score before the softmax over documents;
            sentence-transformers uses 20 for cosines.
        mode: how its loss is marginalised over documents.
        question_encoder: the subfolder of the question encoder that was trained with it, if any.
        writes: what a source becomes: its answer, or, where an answer stands in the place of the
            question, the question.
    """

    template: str
    max_source_length: int = 384
    max_answer_length: int = 32
    score_scale: float = 20.0
    mode: Mode = "token"
    question_encoder: str | None = None
    writes: Literal["answers", "questions"] = "answers"


def write_facts(folder: Path, facts: GeneratorFacts) -> None:
    """Write `generator.json`.

    >>> write_facts(Path("."), GeneratorFacts("{question} {text}"))
    >>> read_facts(Path(".")).max_answer_length
    32
    """
    record = {"format": 1, **asdict(facts)}
    (folder / GENERATOR).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")


def read_facts(folder: Path) -> GeneratorFacts:
    """Read `generator.json`.

    Raises:
        ModelError: it is missing, damaged, or of a later format.
    """
    path = folder / GENERATOR
    try:
        record = orjson.loads(path.read_bytes())
        if record.pop("format") != 1:
            raise ValueError("it is of another format than 1")
        facts = GeneratorFacts(**record)
        numbers = (facts.max_source_length, facts.max_answer_length, facts.score_scale)
        if (
            facts.mode not in ("token", "sequence")
            or facts.writes not in WRITTEN
            or not all(number > 0 for number in numbers)
        ):
            raise ValueError("a value is out of its range")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"the generator's settings cannot be read: {error}",
            where=str(path),
            remedy=f"It holds format: 1 and {', '.join(f.name for f in fields(GeneratorFacts))}.",
        ) from error
    return facts
