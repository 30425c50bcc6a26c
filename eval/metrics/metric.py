"""What a metric is: how it scores a question, and what tables, plots and docs say about it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from qa_system.errors import EvaluationError
from qa_system.labels import gold_texts
from qa_system.records import Label

__all__ = [
    "ALL",
    "ANSWERABLE",
    "ANSWERED",
    "ANSWERED_ANSWERABLE",
    "UNANSWERABLE",
    "Case",
    "Metric",
    "Population",
    "Task",
    "expect_all",
    "score_all",
]

Task = Literal["retriever", "reader", "pipeline", "generator", "consensus"]
"""What is evaluated; see `eval.tasks`."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question as a metric sees it.

    Args:
        label: the question, its gold review and its right answers.
        output: what the system returned, as `Row.output` keeps it: `prediction`, `forced`,
            `log_odds` and `confidence` of a reader, a pipeline or a generator; `ranked`, `scores`,
            `gold`, `answer_rank` and the numbers of `candidates` of a retriever. `ranked` goes on
            beyond k, to the end of the tie that k cuts.
        k: the cut-off; for a ranking metric without one, how many documents were retrieved.
    """

    label: Label
    output: Mapping[str, Any]
    k: int = 0


@dataclass(frozen=True, slots=True)
class Population:
    """The questions that a metric is a mean over.

    Args:
        name: as tables and docs print it.
        counts: whether a question is one of them.
        by_system: whether the system's own answers decide it, so that two systems can have means
            over different questions.
    """

    name: str
    counts: Callable[[Case], bool]
    by_system: bool = False


def _is_answerable(case: Case) -> bool:
    return bool(gold_texts(case.label))


def _is_answered(case: Case) -> bool:
    return bool(case.output.get("prediction"))


ALL = Population("all questions", lambda _: True)
ANSWERABLE = Population("questions with an answer", _is_answerable)
UNANSWERABLE = Population("questions without an answer", lambda case: not _is_answerable(case))
ANSWERED = Population("questions that the system answered", _is_answered, by_system=True)
ANSWERED_ANSWERABLE = Population(
    "questions with an answer that the system answered",
    lambda case: _is_answered(case) and _is_answerable(case),
    by_system=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of an evaluation, and everything that is printed about it.

    Args:
        name: the key in reports and rows. A name that ends in `@k` stands for one metric at each
            cut-off: `recall@k` for `recall@1`, `recall@3`, ...; the word `k` in `label` and
            `meaning` is then replaced, too.
        label: what people read.
        meaning: what it measures, in one sentence.
        source: where the formula comes from.
        tasks: the evaluations that have it.
        over: the questions that it is a mean over.
        score: scores one question; None: this question does not count. A metric without `score`
            is worked out by the task, for all questions at once.
        at_random: the value of a random system, in words or as a formula; empty: there is none.
        expect: that value for one question, in closed form.
        decimals: digits after the point in tables.
        higher_is_better: False for errors and risks.
        if_failed: the score of a question on which the system raised an error.

    >>> words = Metric(
    ...     name="words", label="words", meaning="Words in the answer.", source="this example",
    ...     score=lambda case: len(case.output["prediction"].split()))
    >>> label = Label("q", "How is it?", None, "r", "Good.", ())
    >>> score_all([words], label, {"prediction": "very good"})
    {'words': 2.0}
    """

    name: str
    label: str
    meaning: str
    source: str
    tasks: tuple[Task, ...] = ("reader", "pipeline", "generator")
    over: Population = ALL
    score: Callable[[Case], float | None] | None = None
    at_random: str = ""
    expect: Callable[[Case], float] | None = None
    decimals: int = 3
    higher_is_better: bool = True
    if_failed: float = 0.0
    k: int | None = None

    def at(self, k: int) -> Metric:
        """Return the metric at a cut-off; one without cut-offs is returned as it is.

        >>> from eval.metrics import describe
        >>> describe("hit_rate@k").at(3).label
        'hit rate@3'
        """
        if not self.name.endswith("@k"):
            return self

        def cut(text: str) -> str:
            return re.sub(r"\bk\b", str(k), text)

        return replace(
            self, name=cut(self.name), label=cut(self.label), meaning=cut(self.meaning), k=k
        )

    def shown(self, value: float | None, *, none: str = "-", signed: bool = False) -> str:
        """Write a value with the metric's number of decimals.

        >>> from eval.metrics import describe
        >>> describe("mrr").shown(0.25), describe("mrr").shown(None)
        ('0.250', '-')
        """
        return none if value is None else f"{value:{'+' if signed else ''}.{self.decimals}f}"


def score_all(
    metrics: Iterable[Metric],
    label: Label,
    output: Mapping[str, Any],
    *,
    depth: int = 0,
    failed: bool = False,
) -> dict[str, float | None]:
    """Score one question by every metric that has a `score`; None where it does not count.

    Args:
        metrics: at their cut-offs; see `metrics_of`.
        label: the question.
        output: what the system returned.
        depth: how many documents were retrieved.
        failed: whether the system raised an error instead.

    Raises:
        EvaluationError: a metric raised an error, or returned no finite number.
    """
    scores: dict[str, float | None] = {}
    known: dict[tuple[object, int], float | None] = {}  # em and has_ans_em share one score
    for metric in metrics:
        if metric.score is None:
            continue
        case = _case(metric, label, output, depth)
        if not metric.over.counts(case):
            scores[metric.name] = None
        elif failed:
            scores[metric.name] = metric.if_failed
        else:
            key = metric.score, case.k
            if key not in known:
                known[key] = _number(metric, metric.score, case)
            scores[metric.name] = known[key]
    return scores


def expect_all(
    metrics: Iterable[Metric], label: Label, output: Mapping[str, Any], *, depth: int
) -> dict[str, float | None]:
    """Return what a random order of the candidates scores on average on one question.

    Args:
        metrics: those without `expect` are left out.
        label: the question.
        output: says how many candidates there are, and how many of them are gold.
        depth: how many documents are retrieved.
    """
    cases = ((metric, _case(metric, label, output, depth)) for metric in metrics)
    return {
        metric.name: metric.expect(case) if metric.over.counts(case) else None
        for metric, case in cases
        if metric.expect is not None
    }


def _case(metric: Metric, label: Label, output: Mapping[str, Any], depth: int) -> Case:
    return Case(label, output, depth if metric.k is None else metric.k)


def _number(metric: Metric, score: Callable[[Case], float | None], case: Case) -> float | None:
    try:
        value = score(case)
        number = None if value is None else float(value)
    except Exception as error:
        raise EvaluationError(
            f"metric {metric.name!r} failed: {type(error).__name__}: {error}",
            where=f"question {case.label.question_id!r}",
        ) from error
    if number is not None and not math.isfinite(number):
        raise EvaluationError(
            f"metric {metric.name!r} returned {number}",
            where=f"question {case.label.question_id!r}",
            remedy="Return a finite number, or None where the question does not count.",
        )
    return number
