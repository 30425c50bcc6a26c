"""Rows of SubjQA, whichever source they come from: CSV files, or the Hub's copy of them.

One row is one annotator's answer to one pair of question and review.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_system.datasets.normal_form import NO_ANSWER
from qa_system.errors import DataError, MissingDependencyError, RecordError

__all__ = [
    "HUB_PREFIX",
    "OF_ANNOTATOR",
    "OF_PAIR",
    "OF_PAIR_SCALAR",
    "REQUIRED",
    "OnError",
    "Row",
    "fields_of_hub_row",
    "is_subjqa",
    "read_rows",
    "typed",
]

SPLITS = ("train", "dev", "test")
HUB_PREFIX = "hub:subjqa/"

REQUIRED = (
    "item_id",
    "q_review_id",
    "question",
    "review_id",
    "review",
    "human_ans_spans",
    "human_ans_indices",
)
OF_PAIR = ("domain", "nn_mod", "nn_asp", "query_mod", "query_asp", "q_reviews_id")
OF_PAIR_SCALAR = ("ques_subj_score", "is_ques_subjective")
OF_ANNOTATOR = ("question_subj_level", "answer_subj_level", "ans_subj_score", "is_ans_subjective")

_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?")

OnError = Callable[[RecordError], None]
"""Called with the error of a row that is set aside."""


@dataclass(frozen=True, slots=True)
class Row:
    """One annotator's answer.

    Args:
        split: the split that it is in.
        where: its file and line, for error messages.
        fields: its cells by column.
    """

    split: str
    where: str
    fields: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return a cell's text; of a cell that holds none, the empty one."""
        value = self.fields.get(column)
        return value if isinstance(value, str) else ""


def is_subjqa(path: str | Path) -> bool:
    """Tell whether a folder or file holds SubjQA's columns (or names the Hub's copy).

    >>> is_subjqa("no/such/folder")
    False
    """
    if str(path).startswith(HUB_PREFIX):
        return True
    for file in _split_files(Path(path)).values():
        try:
            with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
                header = next(csv.reader(lines), [])
        except (OSError, csv.Error):
            return False
        return set(REQUIRED) <= set(_named(header))
    return False


def fields_of_hub_row(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Convert a row of the Hub's `subjqa` to rows of the CSV files, one for each answer.

    The Hub's copy has the item in `title`, the pair's id in `id`, the review in `context`, and
    the annotators' answers as lists in `answers` (dataset card of megagonlabs/subjqa). If one
    annotator found an answer, it leaves out those who found none.

    >>> row = {"title": "B00", "id": "q1", "context": "Good.", "question": "How is it?",
    ...        "review_id": "r1", "domain": "books",
    ...        "answers": {"text": ["Good"], "answer_start": [0], "answer_subj_level": [2]}}
    >>> fields = next(fields_of_hub_row(row))
    >>> fields["item_id"], fields["human_ans_spans"], fields["human_ans_indices"]
    ('B00', 'Good', '(0, 4)')
    """
    renamed = {"title": "item_id", "id": "q_review_id", "context": "review"}
    shared = {renamed.get(key, key): value for key, value in row.items() if key != "answers"}
    answers = row["answers"]
    if not answers["text"]:
        yield {**shared, "human_ans_spans": NO_ANSWER, "human_ans_indices": "(0, 0)"}
    for position, (text, start) in enumerate(
        zip(answers["text"], answers["answer_start"], strict=True)
    ):
        own = {key: answers[key][position] for key in OF_ANNOTATOR if key in answers}
        indices = f"({start}, {start + len(text)})"
        yield {**shared, **own, "human_ans_spans": text, "human_ans_indices": indices}


def typed(value: Any) -> Any:
    """Return a CSV cell with its type: `True`, `5` and `0.4` are values, `007` is a string."""
    if not isinstance(value, str):
        return value
    if value in ("True", "False"):
        return value == "True"
    if _NUMBER.fullmatch(value) is None:
        return value
    number = float(value) if "." in value else int(value)
    return number if str(number) == value else value


def read_rows(
    source: str | Path, split: str | None, on_error: OnError | None = None
) -> Iterator[Row]:
    """Read the rows of one domain, in the order of the files.

    Args:
        source: a folder, a CSV file, or `hub:subjqa/DOMAIN`.
        split: the one to read; None reads all that are there.
        on_error: called with the error of every row that is not CSV of these columns, which is
            then left out; None raises it.

    Raises:
        DataError: the folder, a split or a column is not there.
        RecordError: a row cannot be used, and there is no `on_error`.
        MissingDependencyError: the Hub's copy was asked for and `datasets` is not installed.
    """
    if str(source).startswith(HUB_PREFIX):
        yield from _hub_rows(str(source).removeprefix(HUB_PREFIX), split)
        return
    files = _split_files(Path(source))
    if not files:
        raise DataError(
            "there is no SubjQA data",
            where=str(source),
            remedy="Name a folder that holds train.csv, dev.csv or test.csv.",
        )
    for name in _chosen(split, files, str(source)):
        yield from _csv_rows(name, files[name], on_error)


def _split_files(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {path.stem: path}
    found: dict[str, Path] = {}
    for name in SPLITS:
        # The authors' repository keeps the three files in a folder `splits`.
        for file in (path / f"{name}.csv", path / "splits" / f"{name}.csv"):
            if file.is_file():
                found.setdefault(name, file)
    return found


def _chosen(split: str | None, there: Mapping[str, object], where: str) -> list[str]:
    if split is None:
        return list(there)
    if split not in there:
        raise DataError(
            f"there is no split {split!r}",
            where=where,
            remedy=f"Splits there: {', '.join(there)}.",
        )
    return [split]


def _csv_rows(split: str, path: Path, on_error: OnError | None) -> Iterator[Row]:
    # With the default limit of 131,072 characters a field, reading would stop at the row.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        # Bytes that are not UTF-8 are read as surrogates, so that only their own row is rejected.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines)
            header = _named(next(reader, []))
            missing = [column for column in REQUIRED if column not in header]
            if missing:
                raise DataError(
                    f"the columns {', '.join(missing)} are missing",
                    where=str(path),
                    remedy=f"SubjQA's columns are {', '.join(REQUIRED)}.",
                )
            end_of_last = reader.line_num
            for cells in reader:
                where = f"{path}, line {end_of_last + 1}"
                end_of_last = reader.line_num
                if not cells:
                    continue
                error = _error_in(cells, header, where)
                if error is None:
                    yield Row(split, where, dict(zip(header, cells, strict=True)))
                elif on_error is None:
                    raise error
                else:
                    on_error(error)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except csv.Error as error:
        raise DataError(
            f"the file is not CSV: {error}", where=str(path), remedy="Write it as CSV again."
        ) from error


def _named(header: list[str]) -> list[str]:
    """Return the columns by the names of the CSV files: copies call the item `title`."""
    if "item_id" in header:
        return header
    return ["item_id" if column == "title" else column for column in header]


def _error_in(cells: list[str], header: list[str], where: str) -> RecordError | None:
    if len(cells) != len(header):
        return RecordError(
            f"the row has {len(cells)} fields, the header {len(header)}", where=where
        )
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return RecordError(
            "the row is not UTF-8",
            where=where,
            remedy="Save the file as UTF-8.",
            reason="bad encoding",
        )
    return None


def _hub_rows(domain: str, split: str | None) -> Iterator[Row]:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "reading SubjQA from the Hub needs `datasets`",
            remedy="Install it: pip install 'qa-system[train]', or name a local folder.",
        ) from error
    where = f"{HUB_PREFIX}{domain}"
    try:
        # The repository itself holds a loading script, which `datasets` no longer runs; the Hub
        # keeps a Parquet conversion of it on this branch.
        loaded = datasets.load_dataset(
            "megagonlabs/subjqa", domain, revision="refs/convert/parquet"
        )
    except Exception as error:  # the Hub's errors have no common base class
        raise DataError(
            f"the Hub's subjqa cannot be loaded: {type(error).__name__}: {error}",
            where=where,
            remedy="Check the domain's name and the network, or name a local folder.",
        ) from error
    names = {"train": "train", "validation": "dev", "test": "test"}
    there = {ours: loaded[theirs] for theirs, ours in names.items() if theirs in loaded}
    for name in _chosen(split, there, where):
        for position, row in enumerate(there[name], start=1):
            for fields in fields_of_hub_row(row):
                yield Row(name, f"{where}, {name} row {position}", fields)
