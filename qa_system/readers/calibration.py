"""From a span's log-odds to a probability, and to the decision whether to answer at all.

A reader's logits order its answers well and overstate their odds. Two numbers, fitted on labelled
questions that the reader was not trained on, put that right: the probability of an answer is
`sigmoid((log_odds - threshold) / temperature)`. (Temperature scaling: Guo et al., On Calibration
of Modern Neural Networks, ICML 2017.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qa_system.errors import ModelError

__all__ = [
    "Calibration",
    "expected_calibration_error",
    "fit_calibration",
    "fit_temperature",
    "fit_threshold",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where a reader's "yes" begins, and how steeply its confidence rises.

    Args:
        threshold: the log-odds from which on an answer is given; its probability there is 1/2.
        temperature: log-odds units in one unit of the calibrated log-odds; above 0.
        fitted_on: the labelled questions that it was fitted on; None if it was not fitted.
    """

    threshold: float = 0.0
    temperature: float = 1.0
    fitted_on: str | None = None

    def probability(self, log_odds: float) -> float:
        """Give the probability that an answer is right.

        >>> Calibration(threshold=2.0, temperature=4.0).probability(2.0)
        0.5
        """
        return float(_sigmoid(np.float64((log_odds - self.threshold) / self.temperature)))

    def to_dict(self) -> dict[str, Any]:
        """Give the entry of a model's manifest."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Calibration:
        """Read the entry of a model's manifest; a model without one is not calibrated."""
        entry = manifest.get("calibration")
        if entry is None:
            return cls()
        try:
            return cls(
                float(entry["threshold"]), float(entry["temperature"]), entry.get("fitted_on")
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise ModelError(
                f"the manifest's calibration is damaged: {fault!r}",
                remedy="Fit it again: qa-eval calibrate --write.",
            ) from fault


def fit_calibration(
    log_odds: ArrayLike,
    f1_answered: ArrayLike,
    answerable: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    fitted_on: str | None = None,
) -> Calibration:
    """Fit both numbers on labelled questions.

    Args:
        log_odds: of the best span for each question, answer or not, shape (questions,).
        f1_answered: the F1 of that span; 0 where the question has no answer.
        answerable: whether the question has an answer.
        weights: how much each question counts; None: all alike.
        fitted_on: what to remember of the questions.

    Returns:
        The threshold with the highest mean F1 (silence is worth 1 on a question without an
        answer), and the temperature under which "the question has an answer" is likeliest.
    """
    has_answer = np.asarray(answerable, dtype=bool)
    weight = np.ones(len(has_answer)) if weights is None else np.asarray(weights, np.float64)
    threshold = fit_threshold(
        log_odds, np.asarray(f1_answered, np.float64) * weight, ~has_answer * weight
    )
    temperature = fit_temperature(log_odds, has_answer, threshold, weight)
    return Calibration(round(threshold, 3), round(temperature, 3), fitted_on)


def fit_threshold(log_odds: ArrayLike, if_answered: ArrayLike, if_silent: ArrayLike) -> float:
    """Find the threshold with the highest total score.

    Args:
        log_odds: a question is answered if its log-odds reach the threshold.
        if_answered: what a question is worth if it is answered.
        if_silent: what it is worth if it is not.

    Returns:
        The middle of the best gap between two neighbouring log-odds; of several as good, the
        widest; beyond the outermost, by 1, where answering all or none is best.

    >>> fit_threshold([1.0, 2.0, 4.0, 5.0], [0, 0, 1, 1], [1, 1, 0, 0])
    3.0
    """
    odds = np.asarray(log_odds, dtype=np.float64)
    order = np.argsort(odds, kind="stable")
    odds = odds[order]
    gain = (np.asarray(if_silent, dtype=float) - np.asarray(if_answered, dtype=float))[order]
    total = np.concatenate(([0.0], np.cumsum(gain)))  # silent on the first n
    edges = np.concatenate(([odds[0] - 2], odds, [odds[-1] + 2]))
    width = np.diff(edges)
    total[width <= 0] = -np.inf
    best = np.flatnonzero(total >= total.max() - 1e-9)
    chosen = best[np.argmax(width[best])]
    return float((edges[chosen] + edges[chosen + 1]) / 2)


def fit_temperature(
    log_odds: ArrayLike, right: ArrayLike, threshold: float, weights: ArrayLike = 1.0
) -> float:
    """Find the temperature under which the outcomes are likeliest.

    The likelihood is concave in 1 / temperature, so halving an interval finds its peak.

    Args:
        log_odds: of each answer.
        right: whether it was right.
        threshold: the log-odds with probability 1/2.
        weights: how much each answer counts.

    Returns:
        A temperature from 0.01 to 1000.
    """
    margin = np.asarray(log_odds, dtype=np.float64) - threshold
    outcome = np.asarray(right, dtype=np.float64)
    weighted = margin * np.asarray(weights, dtype=np.float64)

    def slope(steepness: float) -> float:
        """Give the derivative of the log-likelihood by 1 / temperature."""
        return float((weighted * (outcome - _sigmoid(margin * steepness))).sum())

    low, high = 1e-3, 1e2
    for _ in range(80):
        middle = float(np.sqrt(low * high))
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return 1.0 / float(np.sqrt(low * high))


def expected_calibration_error(probabilities: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Measure how far probabilities are from frequencies, on average.

    Args:
        probabilities: as told, 0 to 1.
        right: what happened.
        bins: equal parts of 0 to 1; within each the mean probability is held against the
            frequency, and the differences are weighted by the bin's share (Guo et al. 2017).

    >>> expected_calibration_error([0.5, 0.5, 1.0, 1.0], [True, False, True, True])
    0.0
    """
    told = np.asarray(probabilities, dtype=np.float64)
    happened = np.asarray(right, dtype=np.float64)
    bin_of = np.minimum((told * bins).astype(np.int64), bins - 1)
    gap = np.bincount(bin_of, weights=told - happened, minlength=bins)
    return float(np.abs(gap).sum() / len(told))


def _sigmoid(x: Array | np.float64) -> Array | np.float64:
    return np.exp(-np.logaddexp(0.0, -x))
