"""Questions to annotate: from a table, JSON Lines, feedback or a data set."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.json_fields import id_of, is_id
from qa_system.datasets.normal_form import is_blank
from qa_system.errors import DataError
from qa_system.records import Question

__all__ = ["read_questions"]

SQLITE: Final = b"SQLite format 3\0"


def read_questions(path: str | Path) -> list[Question]:
    """Read distinct questions, in the order of the file.

    Args:
        path: a CSV file or JSON Lines with `question` and `item_id` (other columns are ignored; a
            row whose `verdict` is "up" is left out); the file of `qa serve --feedback`, of which
            the answers that did not help are taken; or a data set (`read_dataset`).

    Raises:
        DataError: the file cannot be read, a row has no question, or there are no questions.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "asked.csv").write_text("question,item_id\\nIs it loud?,fan\\n")
    >>> read_questions(folder / "asked.csv")
    [Question(text='Is it loud?', item_id='fan', filters=None)]
    """
    found = list(dict.fromkeys(_questions(path)))
    if not found:
        raise DataError(
            "there are no questions",
            where=str(path),
            remedy="Name a file of questions: CSV or JSON Lines with question and item_id, "
            "a feedback file in which an answer did not help, or a data set.",
        )
    return [Question(text, item_id) for text, item_id in found]


_Asked = tuple[str, str | None]


def _questions(path: str | Path) -> Iterator[_Asked]:
    try:
        if os.path.isfile(path):  # noqa: PTH113 (a data set may be a name that is no path)
            with Path(path).open("rb") as file:
                is_sqlite = file.read(len(SQLITE)) == SQLITE
            if is_sqlite:
                return _of_rows(_not_helped(Path(path)), path)
            if Path(path).suffix == ".csv":
                return _of_rows(_csv(Path(path)), path)
            if Path(path).suffix == ".jsonl":
                return _of_rows(_json_lines(Path(path)), path)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    return ((label.question, label.item_id) for label in read_dataset(path).labels)


def _of_rows(rows: Iterable[tuple[int, Mapping[str, Any]]], path: str | Path) -> Iterator[_Asked]:
    for number, row in rows:
        if row.get("verdict") == "up":
            continue
        text, item = row.get("question"), row.get("item_id")
        if not isinstance(text, str) or is_blank(text):
            raise _no_text("question", f"{path}:{number}")
        if item is not None and not is_id(item):
            raise _no_text("item_id", f"{path}:{number}")
        yield " ".join(text.split()), id_of(item) or None


def _no_text(column: str, where: str) -> DataError:
    return DataError(
        f"{column} is not a text",
        where=where,
        remedy="Give each row a question, and the item_id of the item that it is about.",
    )


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            for row in rows:
                yield rows.line_num, row
    except (ValueError, csv.Error) as error:
        raise DataError(f"the file is no CSV in UTF-8: {error}", where=str(path)) from error


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
                except orjson.JSONDecodeError as error:
                    raise DataError(
                        f"the line is not JSON: {error}", where=f"{path}:{number}"
                    ) from error
                yield number, row if isinstance(row, dict) else {}


def _not_helped(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Return the last entry about each answer, if it says that the answer did not help."""
    from qa_system.serving.product_page.feedback import FeedbackFile

    last = {entry["request_id"]: entry for entry in FeedbackFile(path).entries()}
    return ((entry["number"], entry) for entry in last.values() if entry["verdict"] == "down")
