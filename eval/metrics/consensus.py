"""The metrics of what the reviews say together: mentions, points, counts, verdicts.

A case's `output` has `gold` and `mentioned` (ids of reviews), `ranked` and `scores`, `points`
(ids of each), `counts`, `gold_points` or None, `verdict` and `gold_verdict` or None, `shown`
(texts), `candidates` and `gold_candidates`.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from eval.metrics.metric import ANSWERABLE, UNANSWERABLE, Case, Metric, Population, Task
from eval.metrics.points import count_errors, point_f1, repeated
from eval.metrics.ranking import (
    average_precision,
    average_precision_at_random,
    recall_at_k,
    recall_at_random,
)

__all__ = ["CONSENSUS", "side_of"]

TASK: tuple[Task, ...] = ("consensus",)
SQUAD = "no-answer accuracy of the SQuAD 2.0 evaluation script"
QQSUM = "after Tang et al., QQSUM, ACL 2025"
MANNING = "Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, 8.4"


def _has_points(case: Case) -> bool:
    return bool(case.output["gold_points"])


def _is_polar(case: Case) -> bool:
    return case.output["gold_verdict"] is not None


POINTED = Population("questions with labelled points", _has_points)
POLAR = Population("questions with a labelled verdict", _is_polar)
DECIDED = Population(
    "questions with a labelled verdict that get one",
    lambda case: _is_polar(case) and case.output["verdict"] is not None,
    by_system=True,
)
CLAIMED = Population(
    "questions with a mention found", lambda case: bool(case.output["mentioned"]), by_system=True
)
SHOWN = Population(
    "questions with answers shown", lambda case: bool(case.output["shown"]), by_system=True
)


def side_of(verdict: str) -> str:
    """Return a verdict without its degree.

    >>> side_of("mostly_yes"), side_of("divided")
    ('yes', 'divided')
    """
    return verdict.removeprefix("mostly_")


def _average_precision(case: Case) -> float:
    found = case.output
    return average_precision(found["ranked"], found["gold"], found["candidates"], found["scores"])


def _average_precision_at_random(case: Case) -> float:
    n, m = case.output["candidates"], case.output["gold_candidates"]
    return average_precision_at_random(n, m, n)


def _precision(case: Case) -> float:
    found, gold = case.output, list(case.output["gold"])
    return recall_at_k(found["ranked"], gold, case.k, found["scores"]) * len(gold) / case.k


def _precision_at_random(case: Case) -> float:
    n, m = int(case.output["candidates"]), int(case.output["gold_candidates"])
    return recall_at_random(n, m, case.k) * m / case.k


def _shared(case: Case, among: str) -> float:
    found = case.output
    return len(set(found["mentioned"]) & set(found["gold"])) / len(found[among])


def _count_error(case: Case) -> float:
    return fmean(errors_of(case.output))


def errors_of(output: Any) -> list[float]:
    """Return the count error of each labelled point of a question."""
    return count_errors(output["points"], output["counts"], output["gold_points"] or ())


CONSENSUS = (
    Metric(
        name="mention_map",
        label="MAP of mentions",
        meaning="Mean, over the reviews that answer, of the precision at their ranks; every review "
        "of the item is ranked.",
        source=MANNING,
        tasks=TASK,
        over=ANSWERABLE,
        score=_average_precision,
        at_random="as map, with depth n",
        expect=_average_precision_at_random,
    ),
    Metric(
        name="mention_p@k",
        label="P@k of mentions",
        meaning="Share of the first k reviews that answer.",
        source=MANNING,
        tasks=TASK,
        over=ANSWERABLE,
        score=_precision,
        at_random="min(k, n) m / (n k)",
        expect=_precision_at_random,
    ),
    Metric(
        name="mention_precision",
        label="precision of mentions",
        meaning="Share of the reviews counted as answering that do.",
        source=MANNING,
        tasks=TASK,
        over=CLAIMED,
        score=lambda case: _shared(case, "mentioned"),
    ),
    Metric(
        name="mention_recall",
        label="recall of mentions",
        meaning="Share of the reviews that answer that are counted as answering.",
        source=MANNING,
        tasks=TASK,
        over=ANSWERABLE,
        score=lambda case: _shared(case, "gold"),
    ),
    Metric(
        name="no_mention",
        label="no mention, rightly",
        meaning="1 if no review is counted as answering, else 0.",
        source=SQUAD,
        tasks=TASK,
        over=UNANSWERABLE,
        score=lambda case: float(not case.output["mentioned"]),
    ),
    Metric(
        name="point_f1",
        label="F1 of points",
        meaning="F1 of the points that are labelled ones: assigned one to one by the Jaccard "
        "similarity of their reviews, which has to be .5 at least.",
        source=QQSUM,
        tasks=TASK,
        over=POINTED,
        score=lambda case: point_f1(case.output["points"], case.output["gold_points"]),
    ),
    Metric(
        name="count_error",
        label="count error",
        meaning="Mean, over the labelled points, of |count - right| / right; 1 where no point is "
        "that one.",
        source=QQSUM,
        tasks=TASK,
        over=POINTED,
        score=_count_error,
        higher_is_better=False,
        if_failed=1.0,
    ),
    Metric(
        name="verdict_accuracy",
        label="verdict accuracy",
        meaning="1 if the verdict is the labelled one, of six, else 0.",
        source="accuracy of those given: 1 - selective risk, El-Yaniv and Wiener, 2010",
        tasks=TASK,
        over=DECIDED,
        score=lambda case: float(case.output["verdict"] == case.output["gold_verdict"]),
    ),
    Metric(
        name="verdict_side",
        label="verdict accuracy, degree aside",
        meaning="The same, with mostly yes counted as yes, and mostly no as no.",
        source="accuracy of those given: 1 - selective risk, El-Yaniv and Wiener, 2010",
        tasks=TASK,
        over=DECIDED,
        score=lambda case: float(
            side_of(case.output["verdict"]) == side_of(case.output["gold_verdict"])
        ),
    ),
    Metric(
        name="verdict_coverage",
        label="verdicts given",
        meaning="1 if there is a verdict, else 0.",
        source="El-Yaniv and Wiener, Foundations of Noise-free Selective Classification, 2010",
        tasks=TASK,
        over=POLAR,
        score=lambda case: float(case.output["verdict"] is not None),
    ),
    Metric(
        name="duplicates",
        label="duplicates shown",
        meaning="Answers shown that have four fifths of the words of an earlier one.",
        source="this project",
        tasks=TASK,
        over=SHOWN,
        score=lambda case: float(repeated(case.output["shown"])),
        higher_is_better=False,
    ),
)
