"""Questions to annotate: from a file of questions, feedback or a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from qa_system.catalogue.questions import Asked, Questions
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.subjqa import is_subjqa
from qa_system.errors import ConfigError, DataError, RecordError
from qa_system.records import Question
from qa_system.serving.product_page.feedback import FeedbackFile, latest_feedback

__all__ = ["read_questions"]

SQLITE: Final = b"SQLite format 3\0"
SQUAD: Final = b'"paragraphs"'
HEAD_BYTES: Final = 1 << 16


def read_questions(
    path: str | Path, item: str | None = None, encoding: str | None = None
) -> tuple[list[Question], list[RecordError]]:
    """Read distinct questions, in the order of the file.

    Args:
        path: a file of questions as `qa ask --questions` reads it; the file of `qa serve
            --feedback`; or a data set (`read_dataset`). Where an answer was judged, its question
            is taken if the answer did not help, by the last verdict.
        item: that all questions of a file are about, where no column names one.
        encoding: of a file of questions; None: detected.

    Returns:
        The questions, and the rows that were set aside.

    Raises:
        ConfigError: a file of questions has not the columns needed.
        DataError: the file cannot be read, or there are no questions.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "asked.csv").write_text("question,asin\\nIs it loud?,fan\\n")
    >>> read_questions(folder / "asked.csv")
    ([Question(text='Is it loud?', item_id='fan', filters=None)], [])
    """
    rows = list(_rows(path, item, encoding))
    bad = [row.question for row in rows if isinstance(row.question, RecordError)]
    found = list(dict.fromkeys(_not_helped(rows)))
    if not found:
        raise DataError(
            "there are no questions" + (f"; the first row: {bad[0].what}" if bad else ""),
            where=str(path) if not bad else bad[0].where,
            remedy="Name a file with the columns question and item_id, a feedback file in which "
            "an answer did not help, or a data set.",
        )
    return [Question(text, item_id) for text, item_id in found], bad


def _rows(path: str | Path, item: str | None, encoding: str | None) -> Iterable[Asked]:
    head = _head(Path(path))
    is_data_set = head is None or is_subjqa(path) or (head[:1] == b"{" and SQUAD in head)
    is_feedback = head is not None and head.startswith(SQLITE)
    if not (is_data_set or is_feedback):
        return Questions(str(path), item, encoding)
    if item is not None or encoding is not None:
        raise ConfigError(
            "--item and --encoding are for a file of questions",
            where=str(path),
            remedy="Leave them out: feedback and data sets name their items.",
        )
    if is_feedback:
        return (
            Asked(None, Question(entry["question"], entry["item_id"]), 1.0, meta=entry)
            for entry in FeedbackFile(Path(path)).entries()
        )
    labels = read_dataset(path).labels
    return (Asked(None, Question(label.question, label.item_id), 1.0) for label in labels)


def _head(path: Path) -> bytes | None:
    """Return how a file begins; None: there is none."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).lstrip()
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}", where=str(path), remedy="Check it."
        ) from error


def _not_helped(rows: Iterable[Asked]) -> Iterator[tuple[str, str | None]]:
    """Return what was asked, but for answers that helped, by the last verdict about each."""
    asked: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        if isinstance(row.question, Question):
            own = {"question": " ".join(row.question.text.split()), "item_id": row.question.item_id}
            answer = row.meta.get("request_id") or f"row {number}"
            asked.append({"verdict": row.meta.get("verdict"), **own, "request_id": answer})
    for entry in latest_feedback(asked):
        if entry["verdict"] != "up":
            yield entry["question"], entry["item_id"]
