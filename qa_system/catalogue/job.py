"""A file of questions asked: read, answered in batches, written; and continued where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from qa_system.answering.versions import models_of, version_of
from qa_system.catalogue.output import Run, open_output, refuse_other_kinds
from qa_system.catalogue.questions import Asked, Questions
from qa_system.config import Settings
from qa_system.config.choices import AnswerMode
from qa_system.console.progress import progress
from qa_system.errors import ConfigError, QASystemError, RecordError
from qa_system.records import Question
from qa_system.system import QASystem

__all__ = ["AskedReport", "ask_all"]

BATCH: Final = 16
"""Questions that are read together, and written together."""


@dataclass(frozen=True, slots=True)
class AskedReport:
    """What came of a file of questions.

    Args:
        out: the answers file.
        rows: in it.
        errors: rows that could not be answered.
        resumed: rows that an earlier run had done.
        seconds: of this run.
    """

    out: str
    rows: int
    errors: int
    resumed: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """Of a command that does nothing else: 1 if no row could be asked."""
        return int(0 < self.rows == self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def ask_all(
    settings: Settings,
    questions: Questions,
    out: Path,
    top_k: int = 3,
    mode: AnswerMode = "extract",
    *,
    restart: bool = False,
) -> AskedReport:
    """Ask every row of a questions file, and write a line for each.

    A row that cannot be asked has its error in its line. A run that was stopped, by SIGKILL as
    well, goes on behind the rows that it had done.

    Args:
        settings: the store, the models and how to use them.
        questions: the file.
        out: the answers file.
        top_k: as in `QASystem.ask`.
        mode: as in `QASystem.ask`.
        restart: ask all rows again, over the answers of an earlier run.

    Raises:
        ConfigError: the answers file holds something else, or answers of another run, or is no
            regular file.
        DataError: the questions cannot be read on.
        QASystemError: what concerns all questions: the store, a model.
    """
    if any(path.resolve() == out.resolve() for path in questions.paths):
        raise ConfigError(
            "the answers would overwrite the questions",
            where=str(out),
            remedy="Name another file: --out FILE.",
        )
    refuse_other_kinds(out)
    begun = monotonic()
    with QASystem.open(settings, mode=mode) as system:
        run = _run(system, questions, top_k, mode)
        with open_output(out, run, restart=restart) as output:
            resumed = output.rows
            rows = islice(questions, resumed, None)
            with progress("asking", unit="questions") as shown:
                shown.go_on(resumed)
                while batch := list(islice(rows, BATCH)):
                    output.write(_ask(system, batch, top_k, mode))
                    share = batch[-1].share
                    total = round(output.rows / share) if share > 0 else None
                    shown.advance(len(batch), total=total)
            return AskedReport(
                str(out), output.rows, output.errors, resumed, round(monotonic() - begun, 3)
            )


def _run(system: QASystem, questions: Questions, top_k: int, mode: str) -> Run:
    generation = system.store.read_generation()
    # What a server says behind the colon counts its refreshes, which change no review.
    store = generation.store.partition(":")[0]
    version = version_of(system.settings, models_of(system.settings))
    return Run(
        questions=_digest(questions.digest() or uuid4().hex),
        reviews=_digest(f"{store} {generation.number}"),
        settings=_digest(f"{version} {top_k} {mode}"),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _ask(
    system: QASystem, batch: Sequence[Asked], top_k: int, mode: AnswerMode
) -> Iterator[dict[str, Any]]:
    """Return the lines of a batch, whose questions are read together."""
    questions = [row.question for row in batch if isinstance(row.question, Question)]
    answers = iter(system.ask_many(questions, top_k, mode))
    for row in batch:
        if isinstance(row.question, RecordError):
            yield _failed(row.id, row.text, row.item_id, row.question)
            continue
        found = next(answers)
        if found.error is None:
            yield {"id": row.id, **found.to_dict()}
        else:
            yield _failed(row.id, found.question, found.item_id, found.error)


def _failed(
    id_: Any, question: str | None, item_id: str | None, error: QASystemError
) -> dict[str, Any]:
    return {
        "id": id_,
        "question": question,
        "item_id": item_id,
        "error": {"code": error.code, "message": str(error)},
    }
