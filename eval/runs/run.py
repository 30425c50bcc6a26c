"""A run: what one evaluation measured, question by question.

Tables, intervals, slices, comparisons and pages are all computed from its rows. A question's score
is a number, or None where the question does not count in that metric's mean: a metric of
unanswerable questions is None on the answerable ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Task
from qa_system.errors import EvaluationError
from qa_system.labels import gold_texts
from qa_system.records import Label

__all__ = ["Key", "Row", "Run", "Scores", "System", "hardest_first"]

Key = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One question, and what one system made of it.

    Args:
        question_id: the label's.
        split: the part of the data set; with `question_id`, it identifies the question.
        question: its text.
        item_id: the item asked about, if any.
        review_id: the gold review.
        references: the right answers; none if the question has no answer.
        cluster: the questions that are resampled together: those about one item.
        scores: metric -> score, None where the question does not count.
        output: what the system returned, as JSON values.
        slices: feature -> value; see `eval.runs.slices`.
        error: of the system on this question, if it failed; its scores are 0 then.
    """

    question_id: str
    split: str | None
    question: str
    item_id: str | None
    review_id: str
    references: tuple[str, ...]
    cluster: str
    scores: Mapping[str, float | None]
    output: Mapping[str, Any] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> Key:
        """Identifies the question in a data set."""
        return self.split, self.question_id

    @property
    def answerable(self) -> bool:
        """Whether an annotator found an answer."""
        return bool(self.references)

    @classmethod
    def of(
        cls,
        label: Label,
        scores: Mapping[str, float | None],
        output: Mapping[str, Any],
        slices: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> Row:
        """Make a row of a label and what a system made of it."""
        cluster = label.item_id or label.meta.get("title") or label.review_id
        return cls(
            question_id=label.question_id,
            split=label.split,
            question=label.question,
            item_id=label.item_id,
            review_id=label.review_id,
            references=gold_texts(label),
            cluster=str(cluster),
            scores=scores,
            output=output,
            slices={} if slices is None else slices,
            error=error,
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """Questions by metrics, as an array.

    Args:
        metrics: names of the columns.
        values: shape (questions, metrics); NaN where a question does not count.
    """

    metrics: tuple[str, ...]
    values: NDArray[np.float64]

    def means(self) -> dict[str, float | None]:
        """Return each metric's mean over the questions that count in it; None where none does.

        >>> Scores(("em",), np.array([[1.0], [0.0], [np.nan]])).means()
        {'em': 0.5}
        """
        counted = ~np.isnan(self.values)
        return {
            name: math.fsum(column[counts]) / int(counts.sum()) if counts.any() else None
            for name, column, counts in zip(self.metrics, self.values.T, counted.T, strict=True)
        }


@dataclass(frozen=True)
class System:
    """One system's rows and numbers.

    Args:
        rows: one for each question, in the order of the labels.
        measures: numbers that are no means over questions (best F1, calibration error).
        counts: how many questions there were of each kind.
        details: curves and outcomes for plots and tables, as JSON values.

    Raises:
        EvaluationError: there is no question, two rows are of one question, or a row lacks a
            metric that another has.
    """

    rows: tuple[Row, ...]
    measures: Mapping[str, float | None] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rows:
            raise EvaluationError("there are no questions", remedy="Choose another split.")
        refuse_duplicates(row.key for row in self.rows)
        for row in self.rows:
            if row.scores.keys() != self.rows[0].scores.keys():
                raise EvaluationError(
                    "a row has other metrics than the first one", where=row.question_id
                )

    @cached_property
    def scores(self) -> Scores:
        """The rows' scores as an array, in the order of the rows."""
        metrics = tuple(self.rows[0].scores)
        values = [[row.scores[name] for name in metrics] for row in self.rows]
        array = np.array(values, dtype=np.float64).reshape(len(self.rows), len(metrics))
        return Scores(metrics, array)

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Each metric's mean."""
        return self.scores.means()


@dataclass(frozen=True)
class Run:
    """One evaluation: one or several systems on the same questions.

    Args:
        kind: what was evaluated.
        primary: the main metric; questions are ordered by it, the hardest first.
        headline: the metrics that tables show, in order.
        systems: name -> what was evaluated.
        baselines: name -> what it is compared with (random order, always abstaining, people);
            reports list them under the key `references`.
        made_with: data, settings, models, versions, seed, command; see `eval.runs.provenance`.
        pairs: the systems that are compared, two at a time; None: every pair.
        compared: the baselines that every system is compared with.

    Raises:
        EvaluationError: the systems answered different questions.
    """

    kind: Task
    primary: str
    headline: tuple[str, ...]
    systems: Mapping[str, System]
    baselines: Mapping[str, System] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] | None = None
    compared: tuple[str, ...] = ("bm25",)

    def __post_init__(self) -> None:
        if not self.systems:
            raise EvaluationError("nothing was evaluated")
        asked = [row.key for row in next(iter(self.systems.values())).rows]
        for name, system in {**self.systems, **self.baselines}.items():
            if [row.key for row in system.rows] != asked:
                raise EvaluationError(
                    "a system was asked other questions than the first one", where=name
                )


def refuse_duplicates(keys: Iterable[Key]) -> None:
    """Refuse questions that have the same id.

    Raises:
        EvaluationError: a question id occurs twice in a split.
    """
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            split, question_id = key
            raise EvaluationError(
                f"question id {question_id!r} occurs twice",
                where=None if split is None else f"split {split}",
                remedy="Give every question of a split an id of its own.",
            )
        seen.add(key)


def hardest_first(run: Run) -> list[tuple[str, Row]]:
    """Return every system's rows, those questions first that all systems get wrong.

    Among equally hard questions, those come first on which a system was most confident; otherwise
    the order of the data set is kept.
    """
    primary = run.primary
    systems = run.systems

    def hardness(position: int) -> tuple[float, float]:
        rows = [system.rows[position] for system in systems.values()]
        scored = [score for row in rows if (score := row.scores.get(primary)) is not None]
        sure = [float(row.output.get("confidence") or 0.0) for row in rows]
        return (sum(scored) / len(scored) if scored else 2.0), -max(sure)

    count = len(next(iter(systems.values())).rows)
    order: Sequence[int] = sorted(range(count), key=hardness)
    return [(name, system.rows[at]) for at in order for name, system in systems.items()]
