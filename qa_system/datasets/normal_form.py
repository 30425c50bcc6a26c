"""What a row of a data set means: one rule for every format.

- A question or a context without a visible character is blank: its row is set aside.
- An answer that is missing, null, blank or `ANSWERNOTFOUND` is "no answer"; so is no answer at all.
- A question that is marked `is_impossible` has no answer, whatever stands beside the mark.
- An answer that is not at its offset is looked for near it (`qa_system.datasets.offset_repair`).

`Reading` applies the rule and keeps count of what it did, so that nothing is left out unsaid.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import orjson

from qa_system.datasets.offset_repair import GivenUp, RepairCounts, RepairTally, SpanFinder
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label
from qa_system.review_ids import stable_review_id

__all__ = [
    "NO_ANSWER",
    "Given",
    "Reading",
    "Remark",
    "Row",
    "is_blank",
    "own_text",
    "says_no_answer",
]

_log = logging.getLogger(__name__)

NO_ANSWER = "ANSWERNOTFOUND"
"""The button for "no answer" of SubjQA's annotators, which ends each of its reviews."""

Kind = Literal["blank", "contradiction", "no answers"]

_MEANINGS: Mapping[Kind, str] = {
    "blank": "rows were set aside, because the question or the context is blank",
    "contradiction": "rows contradict their is_impossible, and count as without an answer",
    "no answers": "rows have no `answers`, and count as without an answer",
}


def is_blank(text: str) -> bool:
    r"""Tell whether a text has no visible character.

    >>> is_blank(" \t\u200b"), is_blank("?")
    (True, False)
    """
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)


def says_no_answer(text: str | None) -> bool:
    """Tell whether an answer says that there is none.

    >>> [says_no_answer(text) for text in (None, " ", "ANSWERNOTFOUND", "none")]
    [True, True, True, False]
    """
    return text is None or is_blank(text) or text.strip() == NO_ANSWER


def own_text(context: str) -> str:
    """Return a review without the annotators' button at its very end.

    >>> own_text("Good. ANSWERNOTFOUND")
    'Good.'
    """
    return "" if context.strip() == NO_ANSWER else context.removesuffix(f" {NO_ANSWER}")


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as a file has it.

    Args:
        text: the answer; None, blank or `ANSWERNOTFOUND`: no answer.
        start: its first character in the context, as far as the file knows; None: unknown.
    """

    text: str | None
    start: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A question about one context, as a file has it.

    Args:
        where: its place in the file, for messages.
        question: what is asked.
        context: the review.
        answers: of all annotators together; None: the file names none.
        annotations: the answers of each annotator, where they are known.
        is_impossible: whether the file marks the question as without an answer; None: no mark.
        question_id: None: derived from item, review and question.
        item_id: None: no item.
        review_id: None: derived from `owner` and context.
        owner: the item or the title that a review's id is derived from.
        split: None: no split.
        meta: the file's other fields.
    """

    where: str
    question: str
    context: str
    answers: Sequence[Given] | None
    annotations: Sequence[Sequence[Given]] = ()
    is_impossible: bool | None = None
    question_id: str | None = None
    item_id: str | None = None
    review_id: str | None = None
    owner: str = ""
    split: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remark:
    """A row that was set aside, or read otherwise than it is written.

    Args:
        kind: `blank` rows are set aside; the others are read as questions without an answer.
        where: its place in the file.
        question_id: None where the file has none.
        what: what is odd about it.
    """

    kind: Kind
    where: str
    question_id: str | None
    what: str


class Reading:
    """The reading of one data set: makes labels of rows, and counts what it did.

    >>> reading = Reading()
    >>> label = reading.label(Row("line 1", "How is it?", "Good. 👍 Loud.", [Given("Loud", 9)]))
    >>> label.answers, reading.repairs.repaired
    ((AnswerSpan(text='Loud', start=8, end=12),), 1)
    >>> reading.label(Row("line 2", " ", "Good.", []))
    >>> reading.remarks[0].what
    'the question is blank'
    """

    def __init__(self) -> None:
        self.remarks: list[Remark] = []
        self.tally = RepairTally()
        self.rows = 0
        self._finder = SpanFinder("")

    @property
    def repairs(self) -> RepairCounts:
        """How the answers' offsets were found so far."""
        return self.tally.counts

    def label(self, row: Row) -> Label | None:
        """Return the label that a row means; None if the row is set aside."""
        context = own_text(row.context)
        if self.is_set_aside(row.where, row.question_id, row.question, context):
            return None
        answers, annotations = self._meant(row)
        meta = {
            key: value for key, value in row.meta.items() if key != "title" or value is not None
        }
        lost: dict[str, None] = dict.fromkeys(meta.get(UNLOCATED, ()))
        located = {
            given: self._located(given, context)
            for given in dict.fromkeys(chain(answers, *annotations))
        }
        # An annotator whose answers are lost did not say "no answer".
        spans_of = [_spans(given, located) for given in annotations]
        kept = [
            spans for spans, given in zip(spans_of, annotations, strict=True) if spans or not given
        ]
        lost |= {given.text or "": None for given, (span, _) in located.items() if span is None}
        if lost:
            meta[UNLOCATED] = list(lost)
        review_id = row.review_id
        if review_id is None:
            review_id = stable_review_id(row.owner, context)
        question_id = row.question_id
        if question_id is None:
            asked = orjson.dumps([row.item_id, review_id, row.question])
            question_id = hashlib.sha256(asked).hexdigest()[:32]
        label = Label(
            question_id=question_id,
            question=row.question,
            item_id=row.item_id,
            review_id=review_id,
            context=context,
            answers=tuple(dict.fromkeys(_spans(answers, located))),
            annotations=tuple(kept),
            split=row.split,
            meta=meta,
        )
        self._count(label, annotations or [answers], located)
        return label

    def is_set_aside(
        self, where: str, question_id: str | None, question: str, context: str
    ) -> bool:
        """Tell whether a row's question or context is blank; if so, remember it."""
        self.rows += 1
        for name, text in (("question", question), ("context", context)):
            if is_blank(text):
                self.remarks.append(Remark("blank", where, question_id, f"the {name} is blank"))
                return True
        return False

    def check_any(self, path: str) -> None:
        """Raise a DataError if there are no rows, or every row was set aside."""
        if not self.rows:
            raise DataError(
                "there are no questions",
                where=path,
                remedy="Name a data set that holds questions, each with a context.",
            )
        aside = [remark for remark in self.remarks if remark.kind == "blank"]
        if aside and len(aside) == self.rows:
            raise DataError(
                f"all {self.rows} rows were set aside, the first because {aside[0].what}",
                where=aside[0].where or path,
                remedy="Give each question a text, and a context that may answer it.",
            )

    def tell(self, path: str) -> None:
        """Log what was set aside, contradicts itself or was not found, each with an example."""
        for kind, number in Counter(remark.kind for remark in self.remarks).items():
            first = next(remark for remark in self.remarks if remark.kind == kind)
            asked = "" if first.question_id is None else f" (question {first.question_id!r})"
            _log.warning(
                "%s: %d of %d %s; the first: %s%s: %s",
                path,
                number,
                self.rows,
                _MEANINGS[kind],
                first.where,
                asked,
                first.what,
            )
        given = self.repairs
        if given.repaired:
            _log.info("%s: %d answers were found near their offsets", path, given.repaired)
        if given.given_up:
            lost = given.given_up_rows[0]
            _log.warning(
                "%s: %d of %d answers are not in their context, or in several places of it, and "
                "have no place; the first: %.60r of question %r",
                path,
                given.given_up,
                given.exact + given.repaired + given.given_up,
                lost.text,
                lost.question_id,
            )

    def _meant(self, row: Row) -> tuple[Sequence[Given], Sequence[Sequence[Given]]]:
        """Return the answers, and each annotator's, without those that say "no answer"."""
        annotations = [_real(given) for given in row.annotations]
        answers = _real(chain(*annotations) if row.answers is None else row.answers)
        marked = row.is_impossible
        found = list(chain(answers, *annotations))
        if row.answers is None and marked is None and not found:
            self._remark("no answers", row, "there are no `answers`")
        elif marked and found:
            what = f"it is marked is_impossible and has the answer {found[0].text!r:.60}"
            self._remark("contradiction", row, what)
            return [], [[]] if annotations else []
        elif marked is False and not found and not row.meta.get(UNLOCATED):
            self._remark("contradiction", row, "is_impossible is false, and there is no answer")
        return answers, annotations

    def _remark(self, kind: Kind, row: Row, what: str) -> None:
        self.remarks.append(Remark(kind, row.where, row.question_id, what))

    def _located(self, given: Given, context: str) -> tuple[AnswerSpan | None, bool]:
        """Return where an answer is, and whether it is there as the file says."""
        text, start = given.text or "", -1 if given.start is None else given.start
        if start >= 0 and context.startswith(text, start):
            return AnswerSpan(text, start, start + len(text)), True
        if self._finder.text != context:
            self._finder = SpanFinder(context)
        span = self._finder.find_clearly(text, start)
        return span, start < 0 and span is not None and span.text == text

    def _count(
        self,
        label: Label,
        annotators: Sequence[Sequence[Given]],
        located: Mapping[Given, tuple[AnswerSpan | None, bool]],
    ) -> None:
        self.tally.add("no_answer", sum(not given for given in annotators))
        for given in chain(*annotators):
            span, is_exact = located[given]
            if span is None:
                ids = label.split, label.question_id, label.review_id
                self.tally.give_up(GivenUp(*ids, given.text or ""))
            else:
                self.tally.add("exact" if is_exact else "repaired")


def _real(given: Iterable[Given]) -> list[Given]:
    return [answer for answer in given if not says_no_answer(answer.text)]


def _spans(
    given: Iterable[Given], located: Mapping[Given, tuple[AnswerSpan | None, bool]]
) -> tuple[AnswerSpan, ...]:
    return tuple(span for answer in given if (span := located[answer][0]) is not None)
