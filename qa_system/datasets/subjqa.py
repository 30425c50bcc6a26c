"""SubjQA: reviews and labels from its CSV files, or from the Hub's copy of them.

One row is one annotator's answer to one (question, review) pair (Bjerva et al., "SubjQA: A
Dataset for Subjectivity and Review Comprehension", EMNLP 2020). Reading repairs three things:

- every review ends in ` ANSWERNOTFOUND`, the annotators' button for "no answer";
- one answer in five was tokenised by the annotation tool (`do n't`), so that the review at its
  indices reads differently;
- the same pair has several rows, one an annotator.

A review is asked several questions, in several splits: its metadata has `split` and `question_id`
as lists of all of them, by which filters find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qa_system.datasets.normal_form import Reading, is_blank, own_text, says_no_answer
from qa_system.datasets.offset_repair import GivenUp, RepairCounts, RepairTally, SpanFinder
from qa_system.datasets.subjqa_rows import (
    HUB_PREFIX,
    OF_ANNOTATOR,
    OF_PAIR,
    OF_PAIR_SCALAR,
    REQUIRED,
    OnError,
    Row,
    fields_of_hub_row,
    is_subjqa,
    read_rows,
    typed,
)
from qa_system.errors import RecordError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label, Review

__all__ = [
    "HUB_PREFIX",
    "GivenUp",
    "RepairCounts",
    "SpanFinder",
    "SubjQA",
    "fields_of_hub_row",
    "is_subjqa",
    "iter_reviews",
    "read_subjqa",
]

# What SubjQA calls a title is the product's id.
_KNOWN = frozenset((*REQUIRED, *OF_PAIR, *OF_PAIR_SCALAR, *OF_ANNOTATOR, "title"))
_INDICES = re.compile(r"\(\s*(\d{1,18})\s*,\s*(\d{1,18})\s*\)")


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


def read_subjqa(
    folder: str | Path, split: str | None = None, reading: Reading | None = None
) -> SubjQA:
    """Read the reviews and labels of one domain.

    A label's `meta` has the fields of the pair (`domain`, `is_ques_subjective`, ...) and, as
    lists with one value for each annotator, the fields that annotators differ in
    (`question_subj_level`, `is_ans_subjective`, ...). An answer that cannot be located is not in
    `answers` and `annotations`, but in `meta["unlocated_answers"]`, as text.

    Args:
        folder: a folder with `train.csv`, `dev.csv` and `test.csv`, or some of them; one such
            file; or `hub:subjqa/DOMAIN` for the Hub's copy.
        split: the one to read; None reads all that are there.
        reading: keeps count of the rows; None: what it would say is logged.

    Raises:
        DataError: the folder, a split or a column or a row is not there, or every row is blank.
        RecordError: a row cannot be used; the message names its file and line.
        MissingDependencyError: the Hub's copy was asked for and `datasets` is not installed.

    >>> from qa_system.config.shipped import resource
    >>> label = next(each for each in read_subjqa(resource("sample")).labels if each.answers)
    >>> label.context[label.answers[0].start : label.answers[0].end] == label.answers[0].text
    True
    """
    counted = Reading() if reading is None else reading
    reviews: dict[str, Review] = {}
    finders: dict[str, SpanFinder] = {}
    pairs: dict[tuple[str, str], _Pair] = {}
    tally = RepairTally()
    places = _Asked()
    for row in read_rows(folder, split):
        asked, review_id = row.text("question"), row.text("q_review_id").strip() or None
        if counted.is_set_aside(row.where, review_id, asked, own_text(row.text("review"))):
            continue
        review = _review(row)
        known = reviews.setdefault(review.id, review)
        places.add(row)
        if known is not review:
            _check_same(row, (known.item_id, known.text), (review.item_id, review.text))
        finder = finders.get(review.id)
        if finder is None:
            finder = finders[review.id] = SpanFinder(review.text)
        pair = _pair(row, known, pairs)
        pair.add_annotator_fields(row.fields)
        pair.mark(*_marked(row), finder, tally)
    counted.tally.update(tally)
    if reading is None:
        counted.check_any(str(folder))
        counted.tell(str(folder))
    told = tuple(places.told(review) for review in reviews.values())
    return SubjQA(told, tuple(pair.label() for pair in pairs.values()), tally.counts)


def iter_reviews(
    folder: str | Path, split: str | None = None, on_error: OnError | None = None
) -> Iterator[Review]:
    """Stream the distinct reviews of one domain.

    The files are read twice: what a review is asked stands all over them. Memory grows by some
    hundred bytes a review.

    Args:
        folder: as `read_subjqa` takes it.
        split: the one to read; None reads all that are there.
        on_error: called with every row that cannot be used, which is then set aside; None
            raises it.

    Raises:
        DataError: the folder, a split or a column is not there.
        RecordError: a row cannot be used, and there is no `on_error`.

    >>> from qa_system.config.shipped import resource
    >>> next(iter_reviews(resource("sample"))).text.endswith("ANSWERNOTFOUND")
    False
    """
    asked = _Asked()
    for row in read_rows(folder, split, lambda _: None):
        asked.add(row)
    digests: dict[str, bytes] = {}
    for row in read_rows(folder, split, on_error):
        try:
            review = _review(row)
            digest = review.digest
            known = digests.setdefault(review.id, digest)
            if known is not digest:
                _check_same(row, known, digest)
                continue
        except RecordError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield asked.told(review)


class _Asked:
    """The splits and the questions of reviews."""

    def __init__(self) -> None:
        self._splits: dict[str, dict[str, None]] = {}
        self._questions: dict[str, dict[str, None]] = {}

    def add(self, row: Row) -> None:
        review, question = row.fields.get("review_id"), row.fields.get("q_review_id")
        if isinstance(review, str) and isinstance(question, str) and question.strip():
            self._splits.setdefault(review, {})[row.split] = None
            self._questions.setdefault(review, {})[question] = None

    def told(self, review: Review) -> Review:
        """Return the review with what it is asked among its metadata."""
        more = {
            "split": [*self._splits.get(review.id, ())],
            "question_id": [*self._questions.get(review.id, ())],
        }
        return replace(review, meta={**review.meta, **more})


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
                self.meta.setdefault(key, []).append(typed(fields[key]))

    def mark(
        self, text: str | None, start: int, end: int, finder: SpanFinder, tally: RepairTally
    ) -> None:
        """Add an annotator's answer, None if there is none, and count what became of it."""
        if text is None:
            self.annotations.append(())
            tally.add("no_answer")
        elif 0 <= start < end and finder.text[start:end] == text:
            self.annotations.append((AnswerSpan(text, start, end),))
            tally.add("exact")
        elif (span := finder.find(text, start)) is not None:
            self.annotations.append((span,))
            tally.add("repaired")
        else:
            self.unlocated.append(text)
            tally.give_up(GivenUp(self.split, self.question_id, self.review.id, text))

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


def _pair(row: Row, review: Review, pairs: dict[tuple[str, str], _Pair]) -> _Pair:
    question_id = _needed(row, "q_review_id")
    question = _needed(row, "question").strip()
    pair = pairs.get((row.split, question_id))
    if pair is None:
        meta = {key: row.fields[key] for key in OF_PAIR if key in row.fields}
        meta |= {key: typed(row.fields[key]) for key in OF_PAIR_SCALAR if key in row.fields}
        pair = _Pair(row.split, question_id, question, review, meta)
        pairs[row.split, question_id] = pair
    elif (pair.question, pair.review.id) != (question, review.id):
        raise RecordError(
            f"question id {question_id!r} stands for another question or review further up",
            where=row.where,
            remedy="Give every pair of question and review an id of its own.",
        )
    return pair


def _review(row: Row) -> Review:
    # Only at the very end, and once: a customer may write the word, too.
    text = own_text(row.text("review"))
    if is_blank(text):
        raise RecordError("the review is empty", where=row.where, reason="missing text")
    meta = {
        key: typed(value)
        for key, value in row.fields.items()
        if (key not in _KNOWN or key == "domain") and value != ""
    }
    return Review(_needed(row, "review_id"), _needed(row, "item_id"), text, meta)


def _marked(row: Row) -> tuple[str | None, int, int]:
    text, given = row.text("human_ans_spans"), str(row.fields["human_ans_indices"]).strip()
    if not given and is_blank(text):
        return None, 0, 0
    indices = _INDICES.fullmatch(given)
    if indices is None:
        raise RecordError(
            f"human_ans_indices is {row.fields['human_ans_indices']!r}",
            where=row.where,
            remedy="Write two character offsets, as in (12, 30).",
        )
    return (None if says_no_answer(text) else text), int(indices[1]), int(indices[2])


def _needed(row: Row, column: str) -> str:
    value = row.text(column)
    if not value.strip():
        raise RecordError(
            f"{column} is empty",
            where=row.where,
            reason="missing item" if column == "item_id" else "malformed",
        )
    return value


def _check_same(row: Row, known: object, given: object) -> None:
    if known != given:
        raise RecordError(
            f"review id {row.fields['review_id']!r} stands for another text or item further up",
            where=row.where,
            reason="duplicate id",
            remedy="Give every review an id of its own.",
        )
