"""SubjQA: reviews and labels from its CSV files, or from the Hub's copy of them.

One row is one annotator's answer to one (question, review) pair (Bjerva et al., "SubjQA: A
Dataset for Subjectivity and Review Comprehension", EMNLP 2020). Three things about the files
need mending before they can be used:

- every review ends in ` ANSWERNOTFOUND`, the annotators' button for "no answer";
- one answer in five was tokenised by the annotation tool (`do n't`), so that the review at its
  indices reads differently;
- the same pair has several rows, one an annotator.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa_system.errors import DataError, MissingDependencyError, RecordError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label, Review

__all__ = [
    "GivenUp",
    "RepairCounts",
    "SpanFinder",
    "SubjQA",
    "fields_of_hub_row",
    "is_subjqa",
    "iter_reviews",
    "read_subjqa",
]

SPLITS = ("train", "dev", "test")
NO_ANSWER = "ANSWERNOTFOUND"
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
_KNOWN = frozenset((*REQUIRED, *OF_PAIR, *OF_PAIR_SCALAR, *OF_ANNOTATOR))

_INDICES = re.compile(r"\(\s*(\d{1,18})\s*,\s*(\d{1,18})\s*\)")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An answer whose place in its review could not be found."""

    split: str
    question_id: str
    review_id: str
    text: str


@dataclass(frozen=True, slots=True)
class RepairCounts:
    """What became of the annotators' rows.

    Args:
        exact: answers that equal the review at their indices as they come.
        repaired: answers whose offsets were found by alignment.
        given_up: answers that are nowhere in their review.
        no_answer: rows that say "not answerable".
        given_up_rows: the rows behind `given_up`.
    """

    exact: int
    repaired: int
    given_up: int
    no_answer: int
    given_up_rows: tuple[GivenUp, ...] = ()

    def __add__(self, other: RepairCounts) -> RepairCounts:
        """Count two domains together."""
        return RepairCounts(
            exact=self.exact + other.exact,
            repaired=self.repaired + other.repaired,
            given_up=self.given_up + other.given_up,
            no_answer=self.no_answer + other.no_answer,
            given_up_rows=self.given_up_rows + other.given_up_rows,
        )


@dataclass(frozen=True, slots=True)
class SubjQA:
    """One domain of SubjQA.

    Args:
        reviews: distinct by id over the splits that were read, in order of first appearance.
        labels: one for each (split, question id), in the order of the files.
        repairs: how the answers' offsets were found.
    """

    reviews: tuple[Review, ...]
    labels: tuple[Label, ...]
    repairs: RepairCounts


@dataclass(frozen=True, slots=True)
class _Row:
    split: str
    where: str
    fields: Mapping[str, Any]


OnFault = Callable[[RecordError], None]


def read_subjqa(folder: str | Path, split: str | None = None) -> SubjQA:
    """Read the reviews and labels of one domain.

    In a label's `meta` stand the fields of the pair (`domain`, `is_ques_subjective`, ...) and,
    as lists with one value for each annotator, those that annotators differ in
    (`question_subj_level`, `is_ans_subjective`, ...). An answer that cannot be located is left
    out of `answers` and `annotations` and stands, as text, in `meta["unlocated_answers"]`.

    Args:
        folder: holds `train.csv`, `dev.csv` and `test.csv`, or some of them; or one such file;
            or `hub:subjqa/DOMAIN` for the Hub's copy.
        split: the one to read; None reads all that are there.

    Raises:
        DataError: the folder, a split or a column is not there.
        RecordError: a row cannot be used; the message names its file and line.
        MissingDependencyError: the Hub's copy was asked for and `datasets` is not installed.

    >>> from qa_system.models import resource
    >>> sample = read_subjqa(resource("sample"))
    >>> label = next(label for label in sample.labels if label.answers)
    >>> span = label.answers[0]
    >>> label.context[span.start : span.end] == span.text
    True
    """
    reviews: dict[str, Review] = {}
    finders: dict[str, SpanFinder] = {}
    pairs: dict[tuple[str, str], _Pair] = {}
    counts = dict.fromkeys(("exact", "repaired", "no_answer"), 0)
    given_up: list[GivenUp] = []
    for row in _rows(folder, split):
        review = _review(row)
        known = reviews.setdefault(review.id, review)
        if known is not review:
            _check_same(row, (known.item_id, known.text), (review.item_id, review.text))
        finder = finders.get(review.id)
        if finder is None:
            finder = finders[review.id] = SpanFinder(review.text)
        pair = _pair(row, known, pairs)
        pair.add_annotator_fields(row.fields)
        text, start, end = _marked(row)
        if text is None:
            counts["no_answer"] += 1
            pair.annotations.append(())
        elif 0 <= start < end and known.text[start:end] == text:
            counts["exact"] += 1
            pair.annotations.append((AnswerSpan(text, start, end),))
        else:
            span = finder.find(text, start)
            if span is None:
                given_up.append(GivenUp(row.split, pair.question_id, known.id, text))
                pair.unlocated.append(text)
            else:
                counts["repaired"] += 1
                pair.annotations.append((span,))
    return SubjQA(
        reviews=tuple(reviews.values()),
        labels=tuple(pair.label() for pair in pairs.values()),
        repairs=RepairCounts(**counts, given_up=len(given_up), given_up_rows=tuple(given_up)),
    )


def iter_reviews(
    folder: str | Path, split: str | None = None, on_fault: OnFault | None = None
) -> Iterator[Review]:
    """Stream the distinct reviews of one domain; memory grows by 50 bytes or so a review.

    Args:
        folder: as `read_subjqa` takes it.
        split: the one to read; None reads all that are there.
        on_fault: called with every row that cannot be used, which is then set aside; None
            raises it.

    Raises:
        DataError: the folder, a split or a column is not there.
        RecordError: a row cannot be used, and there is no `on_fault`.

    >>> from qa_system.models import resource
    >>> next(iter_reviews(resource("sample"))).text.endswith("ANSWERNOTFOUND")
    False
    """
    digests: dict[str, bytes] = {}
    for row in _rows(folder, split, on_fault):
        try:
            review = _review(row)
            digest = hashlib.blake2b(
                f"{review.item_id}\0{review.text}".encode(), digest_size=16
            ).digest()
            known = digests.setdefault(review.id, digest)
            if known is not digest:
                _check_same(row, known, digest)
                continue
        except RecordError as fault:
            if on_fault is None:
                raise
            on_fault(fault)
            continue
        yield review


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
        return set(REQUIRED) <= set(header)
    return False


class SpanFinder:
    """Find tokenised answers in the review that they were marked in.

    A tokeniser adds spaces (`is n't`), changes quotes and drops the odd sign; letters and
    digits it leaves alone. So the answer is looked for with all white space taken out of both
    sides, then with everything but letters and digits taken out. The review is reduced once, so
    that many answers from one review cost one pass over it.

    Args:
        text: the review.

    >>> SpanFinder("It isn't bitter/acidic.").find("is n't bitter / acidic", 3)
    AnswerSpan(text="isn't bitter/acidic", start=3, end=22)
    """

    _LEVELS: tuple[Callable[[str], bool], ...] = (lambda char: not char.isspace(), str.isalnum)

    def __init__(self, text: str) -> None:
        self._text = text
        self._reduced: list[tuple[str, list[int]]] = []

    def find(self, span: str, start: int) -> AnswerSpan | None:
        """Locate an answer; of several places take the one that starts nearest to `start`."""
        for level, keep in enumerate(self._LEVELS):
            wanted = "".join(filter(keep, span))
            if not wanted:
                return None
            kept, positions = self._at(level)
            found = list(_occurrences(kept, wanted))
            if found:
                distances = [abs(positions[at] - start) for at in found]
                first = found[distances.index(min(distances))]
                start, end = positions[first], positions[first + len(wanted) - 1] + 1
                return AnswerSpan(self._text[start:end], start, end)
        return None

    def _at(self, level: int) -> tuple[str, list[int]]:
        while len(self._reduced) <= level:
            keep = self._LEVELS[len(self._reduced)]
            positions = [at for at, char in enumerate(self._text) if keep(char)]
            self._reduced.append(("".join(self._text[at] for at in positions), positions))
        return self._reduced[level]


def fields_of_hub_row(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Lay out a row of the Hub's `subjqa` as rows of the CSV files, one for each answer.

    The Hub's copy has the item in `title`, the pair's id in `id`, the review in `context`, and
    the annotators' answers as lists in `answers` (dataset card of megagonlabs/subjqa). It holds
    no row of an annotator who found no answer where another did.

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


@dataclass(slots=True)
class _Pair:
    """The rows of one (split, question id) as they come in."""

    split: str
    question_id: str
    question: str
    review: Review
    meta: dict[str, Any]
    annotations: list[tuple[AnswerSpan, ...]] = field(default_factory=list)
    unlocated: list[str] = field(default_factory=list)

    def add_annotator_fields(self, fields: Mapping[str, Any]) -> None:
        for key in OF_ANNOTATOR:
            if key in fields:
                self.meta.setdefault(key, []).append(_scalar(fields[key]))

    def label(self) -> Label:
        distinct = dict.fromkeys(span for spans in self.annotations for span in spans)
        if self.unlocated:
            self.meta[UNLOCATED] = list(dict.fromkeys(self.unlocated))
        return Label(
            question_id=self.question_id,
            question=self.question,
            item_id=self.review.item_id,
            review_id=self.review.id,
            context=self.review.text,
            answers=tuple(distinct),
            annotations=tuple(self.annotations),
            split=self.split,
            meta=self.meta,
        )


def _pair(row: _Row, review: Review, pairs: dict[tuple[str, str], _Pair]) -> _Pair:
    question_id = _needed(row, "q_review_id")
    question = _needed(row, "question").strip()
    pair = pairs.get((row.split, question_id))
    if pair is None:
        meta = {key: row.fields[key] for key in OF_PAIR if key in row.fields}
        meta |= {key: _scalar(row.fields[key]) for key in OF_PAIR_SCALAR if key in row.fields}
        pair = _Pair(row.split, question_id, question, review, meta)
        pairs[row.split, question_id] = pair
    elif (pair.question, pair.review.id) != (question, review.id):
        raise RecordError(
            f"question id {question_id!r} stands for another question or review further up",
            where=row.where,
            remedy="Give every pair of question and review an id of its own.",
        )
    return pair


def _review(row: _Row) -> Review:
    # Only at the very end, and once: a customer may well write the word.
    text = _needed(row, "review").removesuffix(f" {NO_ANSWER}")
    if not text.strip():
        raise RecordError("the review is empty", where=row.where)
    meta = {
        key: _scalar(value)
        for key, value in row.fields.items()
        if (key not in _KNOWN or key == "domain") and value != ""
    }
    return Review(_needed(row, "review_id"), _needed(row, "item_id"), text, meta)


def _marked(row: _Row) -> tuple[str | None, int, int]:
    text = _needed(row, "human_ans_spans")
    indices = _INDICES.fullmatch(str(row.fields["human_ans_indices"]).strip())
    if indices is None:
        raise RecordError(
            f"human_ans_indices is {row.fields['human_ans_indices']!r}",
            where=row.where,
            remedy="Write two character offsets, as in (12, 30).",
        )
    return (None if text.strip() == NO_ANSWER else text), int(indices[1]), int(indices[2])


def _needed(row: _Row, column: str) -> str:
    value = row.fields.get(column)
    if not isinstance(value, str) or not value.strip():
        raise RecordError(f"{column} is empty", where=row.where)
    return value


def _check_same(row: _Row, known: object, given: object) -> None:
    if known != given:
        raise RecordError(
            f"review id {row.fields['review_id']!r} stands for another text or item further up",
            where=row.where,
            remedy="Give every review an id of its own.",
        )


def _scalar(value: Any) -> Any:
    """Give a CSV cell its type: the files' `True`, `5` and `0.4` are no strings, `007` is one."""
    if not isinstance(value, str):
        return value
    if value in ("True", "False"):
        return value == "True"
    if _NUMBER.fullmatch(value) is None:
        return value
    number = float(value) if "." in value else int(value)
    return number if str(number) == value else value


def _occurrences(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)


def _rows(source: str | Path, split: str | None, on_fault: OnFault | None = None) -> Iterator[_Row]:
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
        yield from _csv_rows(name, files[name], on_fault)


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


def _csv_rows(split: str, path: Path, on_fault: OnFault | None) -> Iterator[_Row]:
    # The default limit of 131,072 characters a field would end the file, not reject the row.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        # Bytes that are no UTF-8 come in as surrogates: they spoil their own row, not the file.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
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
                fault = _fault_of(cells, header, where)
                if fault is None:
                    yield _Row(split, where, dict(zip(header, cells, strict=True)))
                elif on_fault is None:
                    raise fault
                else:
                    on_fault(fault)
    except OSError as fault:
        raise DataError(f"the file cannot be read: {fault.strerror}", where=str(path)) from fault
    except csv.Error as fault:
        raise DataError(
            f"the file is not CSV: {fault}", where=str(path), remedy="Write it as CSV again."
        ) from fault


def _fault_of(cells: list[str], header: list[str], where: str) -> RecordError | None:
    if len(cells) != len(header):
        return RecordError(
            f"the row has {len(cells)} fields, the header {len(header)}", where=where
        )
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return RecordError("the row is not UTF-8", where=where, remedy="Save the file as UTF-8.")
    return None


def _hub_rows(domain: str, split: str | None) -> Iterator[_Row]:
    try:
        import datasets
    except ImportError as fault:
        raise MissingDependencyError(
            "reading SubjQA from the Hub needs `datasets`",
            remedy="Install it: pip install 'qa-system[train]', or name a local folder.",
        ) from fault
    where = f"{HUB_PREFIX}{domain}"
    try:
        # The repository itself holds a loading script, which `datasets` runs no more; the Hub
        # keeps a Parquet conversion of it on this branch.
        loaded = datasets.load_dataset(
            "megagonlabs/subjqa", domain, revision="refs/convert/parquet"
        )
    except Exception as fault:  # the Hub's faults share no base
        raise DataError(
            f"the Hub's subjqa cannot be had: {type(fault).__name__}: {fault}",
            where=where,
            remedy="Check the domain's name and the network, or name a local folder.",
        ) from fault
    names = {"train": "train", "validation": "dev", "test": "test"}
    there = {ours: loaded[theirs] for theirs, ours in names.items() if theirs in loaded}
    for name in _chosen(split, there, where):
        for position, row in enumerate(there[name], start=1):
            for fields in fields_of_hub_row(row):
                yield _Row(name, f"{where}, {name} row {position}", fields)
