"""How useful a system's confidence is for abstaining: thresholds, risk and coverage, calibration.

Every function takes one value for each question, answerable or not: an answer to a question that
has none is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qa_system.readers.calibration import expected_calibration_error, fit_threshold

__all__ = [
    "aurc",
    "best_threshold",
    "confidence_measures",
    "coverage_at_error",
    "coverages",
    "precision_coverage",
    "reliability",
    "risk_coverage",
    "threshold_curve",
]

Array = NDArray[np.float64]

ERRORS = (0.1, 0.2, 0.3)
"""The shares of wrong answers at which coverage is reported."""
RIGHT = 0.5
"""The F1 from which on an answer counts as right."""
POINTS = 200
"""Points of a curve at most: more than a plot can show."""


def confidence_measures(
    log_odds: ArrayLike,
    confidence: ArrayLike,
    if_answered: Mapping[str, ArrayLike],
    if_abstained: ArrayLike,
) -> tuple[dict[str, float | None], dict[str, dict[str, list[float]]]]:
    """Return all measures and curves below for one system.

    Args:
        log_odds: of each question's best answer; NaN where there is none.
        confidence: calibrated probability of that answer, 0 to 1; 0 where there is none.
        if_answered: `em` and `f1` of that answer; 0 where the question has no answer.
        if_abstained: what abstaining scores.

    Returns:
        The `measures` of a `System`: `best_em`, `best_f1`, their thresholds, `ece`
        and `aurc` (both of F1), `coverage_at_10` and so on (`coverage_at_error`, an answer with an
        F1 of .5 being right). And its `details`: `thresholds`, `risk_coverage`, `reliability`.
    """
    measures: dict[str, float | None] = {}
    for metric, scores in if_answered.items():
        best, threshold = best_threshold(log_odds, scores, if_abstained)
        measures |= {f"best_{metric}": best, f"best_{metric}_threshold": threshold}
    f1 = if_answered["f1"]
    measures["ece"] = expected_calibration_error(confidence, f1)
    measures["aurc"] = aurc(confidence, f1)
    given = np.where(np.isnan(np.asarray(log_odds, dtype=np.float64)), np.nan, confidence)
    measures |= coverages(given, np.asarray(f1, dtype=np.float64) >= RIGHT)
    return measures, {
        "thresholds": threshold_curve(log_odds, if_answered, if_abstained),
        "risk_coverage": risk_coverage(confidence, f1),
        "reliability": reliability(confidence, f1),
    }


def best_threshold(
    log_odds: ArrayLike, if_answered: ArrayLike, if_abstained: ArrayLike
) -> tuple[float, float | None]:
    """Find the threshold that is best on these same questions.

    An answer is given if its log-odds reach the threshold. As `find_best_thresh_v2` of the
    SQuAD 2.0 evaluation script does with no-answer probabilities, except that answers with the
    same log-odds are given or withheld together.

    Args:
        log_odds: of each question's best answer; NaN where there is none.
        if_answered: what that answer scores.
        if_abstained: what abstaining scores.

    Returns:
        The mean score at the threshold, and the threshold; None for the latter if no question
        has an answer to give.

    >>> best_threshold([1.0, 2.0, 4.0, 5.0], [0, 0, 1, 1], [1, 1, 0, 0])
    (1.0, 3.0)
    """
    odds, answered, abstained = _arrays(log_odds, if_answered, if_abstained)
    could = ~np.isnan(odds)
    if not could.any():
        return float(abstained.mean()), None
    threshold = fit_threshold(odds[could], answered[could], abstained[could])
    return float(np.where(odds >= threshold, answered, abstained).mean()), threshold


def threshold_curve(
    log_odds: ArrayLike, if_answered: Mapping[str, ArrayLike], if_abstained: ArrayLike
) -> dict[str, list[float]]:
    """Return the mean score at thresholds from "answer everything" to "answer nothing".

    Args:
        log_odds: of each question's best answer; NaN where there is none.
        if_answered: metric -> what that answer scores.
        if_abstained: what abstaining scores.

    Returns:
        `threshold`, ascending, and each metric; every threshold that makes a difference if
        there are no more than 200, else 200 of them, evenly chosen.

    >>> threshold_curve([1.0, 3.0], {"f1": [0, 1]}, [1, 0])
    {'threshold': [0.0, 2.0, 4.0], 'f1': [0.5, 1.0, 0.5]}
    """
    odds = np.asarray(log_odds, dtype=np.float64)
    distinct = np.unique(odds[~np.isnan(odds)])
    if not len(distinct):
        return {"threshold": [], **{metric: [] for metric in if_answered}}
    between = (distinct[1:] + distinct[:-1]) / 2
    thresholds = np.concatenate(([distinct[0] - 1], between, [distinct[-1] + 1]))
    thresholds = thresholds[_spread(len(thresholds))]
    order = np.argsort(odds, kind="stable")  # NaN last: never answered
    withheld = np.searchsorted(odds[order], thresholds)
    curve = {"threshold": thresholds.tolist()}
    for metric, scores in if_answered.items():
        _, answered, abstained = _arrays(odds, scores, if_abstained)
        gain = np.where(np.isnan(odds), 0.0, abstained - answered)[order]
        answering_all = np.where(np.isnan(odds), abstained, answered).sum()
        withholding = np.concatenate(([0.0], np.cumsum(gain)))
        curve[metric] = ((answering_all + withholding[withheld]) / len(odds)).tolist()
    return curve


def risk_coverage(confidence: ArrayLike, scores: ArrayLike) -> dict[str, list[float]]:
    """Return the risk of answering only the questions with the highest confidence.

    Args:
        confidence: of each question's answer; only its order matters. Questions with equal
            confidence are answered together, those with NaN last.
        scores: of that answer, 0 to 1; 0 where the question has no answer.

    Returns:
        `coverage`, ascending: the shares of the questions answered at each confidence, 200 of
        them at most; and `risk`, one minus the mean score of the questions answered there.

    Source: El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification,
    Journal of Machine Learning Research 11, 2010.

    >>> risk_coverage([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    {'coverage': [0.25, 0.75, 1.0], 'risk': [0.0, 0.333..., 0.5]}
    """
    risks, last_of_tie = _risks(confidence, scores)
    ends = np.flatnonzero(last_of_tie)
    at = ends[_spread(len(ends))]
    return {"coverage": ((at + 1) / len(risks)).tolist(), "risk": risks[at].tolist()}


def aurc(confidence: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the risk-coverage curve: lower is better.

    It is the mean risk of answering the n questions with the highest confidence, for n from 1 to
    all of them. Within a tie it is the mean over all orders, so that the order of the data set
    has no effect.

    Args:
        confidence: as for `risk_coverage`.
        scores: as for `risk_coverage`.

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NIPS 2017;
    the mean in place of the integral as in Geifman, Uziel and El-Yaniv, ICLR 2019.

    >>> aurc([0.9, 0.1], [1, 0]), aurc([0.1, 0.9], [1, 0]), aurc([0.5, 0.5], [1, 0])
    (0.25, 0.75, 0.5)
    """
    return float(_risks(confidence, scores)[0].mean())


def precision_coverage(confidence: ArrayLike, scores: ArrayLike) -> dict[str, list[float]]:
    """Return precision and coverage of the answers at or above each confidence.

    Args:
        confidence: of each question's answer; NaN where there is none to give. Answers with equal
            confidence are given or withheld together.
        scores: of that answer, 0 to 1; 0 where the question has no answer.

    Returns:
        `threshold`, descending; `coverage`, the share of all questions whose answer has that
        confidence or more; and `precision`, the mean score of these answers. Every threshold that
        makes a difference if there are no more than 200, else 200 of them, evenly chosen.

    >>> precision_coverage([0.9, 0.5, 0.5, float("nan")], [1, 1, 0, 0])
    {'threshold': [0.9, 0.5], 'coverage': [0.25, 0.75], 'precision': [1.0, 0.666...]}
    """
    sureness, score = _arrays(confidence, scores)
    could = ~np.isnan(sureness)
    risks, last_of_tie = _risks(sureness[could], score[could])
    ends = np.flatnonzero(last_of_tie)
    at = ends[_spread(len(ends))]
    return {
        "threshold": np.sort(sureness[could])[::-1][at].tolist(),
        "coverage": ((at + 1) / len(score)).tolist(),
        "precision": (1 - risks[at]).tolist(),
    }


def coverages(confidence: ArrayLike, right: ArrayLike) -> dict[str, float | None]:
    """Return `coverage_at_error` at 10, 20 and 30 % as measures of a system."""
    return {
        f"coverage_at_{round(100 * error)}": coverage_at_error(confidence, right, error)
        for error in ERRORS
    }


def coverage_at_error(confidence: ArrayLike, right: ArrayLike, error: float) -> float:
    """Return the largest share of the questions that can be answered with so few errors.

    The questions with the highest confidence are answered, those with equal confidence together.
    The share is chosen on these same questions: a description of the confidence, no promise.

    Args:
        confidence: of each question's answer; NaN where there is none to give.
        right: whether that answer is right; not, where the question has none.
        error: the share of the answers given that may be wrong.

    Source: Kamath, Jia and Liang, Selective Question Answering under Domain Shift, ACL 2020.

    >>> coverage_at_error([0.9, 0.8, 0.7, 0.6], [True, False, True, True], 0.25)
    1.0
    >>> coverage_at_error([0.9, 0.8, 0.8, float("nan")], [True, False, True, True], 0.2)
    0.25
    """
    sureness, score = _arrays(confidence, right)
    could = ~np.isnan(sureness)
    if not could.any():
        return 0.0
    risks, last_of_tie = _risks(sureness[could], score[could])
    ends = np.flatnonzero(last_of_tie & (risks <= error + 1e-12))
    return float(ends[-1] + 1) / len(score) if len(ends) else 0.0


def reliability(confidence: ArrayLike, scores: ArrayLike, bins: int = 10) -> dict[str, list[float]]:
    """Compare confidence with the score of the answers, bin by bin.

    Args:
        confidence: 0 to 1, of each question's answer.
        scores: of that answer, 0 to 1; 0 where the question has no answer.
        bins: equal parts of 0 to 1, those of `expected_calibration_error`, which is the mean
            distance of the two, weighted by share.

    Returns:
        For each bin that has questions: mean `confidence`, mean score as `accuracy`, and the
        `share` of the questions.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2.

    >>> reliability([0.75, 0.25, 0.75], [1.0, 0.0, 0.5], bins=2)
    {'confidence': [0.25, 0.75], 'accuracy': [0.0, 0.75], 'share': [0.333..., 0.666...]}
    """
    confident = np.asarray(confidence, dtype=np.float64)
    score = np.asarray(scores, dtype=np.float64)
    bin_of = np.minimum((confident * bins).astype(np.int64), bins - 1)
    _, place, size = np.unique(bin_of, return_inverse=True, return_counts=True)
    return {
        "confidence": (np.bincount(place, weights=confident) / size).tolist(),
        "accuracy": (np.bincount(place, weights=score) / size).tolist(),
        "share": (size / len(confident)).tolist(),
    }


def _risks(confidence: ArrayLike, scores: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """Return the expected risk of answering the n most confident, n from 1, and where ties end."""
    sureness = np.nan_to_num(np.asarray(confidence, dtype=np.float64), nan=-np.inf)
    loss = 1 - np.asarray(scores, dtype=np.float64)
    order = np.argsort(-sureness, kind="stable")
    _, tie, size = np.unique(-sureness[order], return_inverse=True, return_counts=True)
    expected = (np.bincount(tie, weights=loss[order]) / size)[tie]
    last_of_tie = np.diff(tie, append=len(size)) > 0
    return np.cumsum(expected) / np.arange(1, len(loss) + 1), last_of_tie


def _spread(count: int) -> NDArray[np.intp]:
    """Choose positions out of so many, evenly, both ends among them."""
    return np.linspace(0, count - 1, min(count, POINTS)).round().astype(np.intp)


def _arrays(*values: ArrayLike) -> tuple[Array, ...]:
    return tuple(np.asarray(each, dtype=np.float64) for each in values)
