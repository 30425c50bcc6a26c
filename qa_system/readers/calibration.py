"""From a span's log-odds to probabilities, and to the decision whether to answer at all.

A reader's logits order its answers well and overstate their odds. Numbers fitted on labelled
questions that the reader was not trained on put that right. There are two probabilities: that the
review has an answer, and that the span is it, which is less; each is
`sigmoid((log_odds - center) / temperature)` with a center and a temperature of its own (Platt
scaling; with the center at 0 it is the temperature scaling of Guo et al., On Calibration of
Modern Neural Networks, ICML 2017). An answer is given from `threshold` on, where it is worth more
than abstention.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from qa_system.arguments import LEAST_POSITIVE, number_in
from qa_system.errors import ModelError
from qa_system.models.locate import MANIFEST, TRAINING, ModelLocation, read_manifest

__all__ = [
    "Calibration",
    "Sigmoid",
    "calibration_of",
    "expected_calibration_error",
    "fit_calibration",
    "fit_sigmoid",
    "fit_threshold",
    "keep_calibration",
    "log_odds_of",
]

Array = NDArray[np.float64]

WHOLE: Final = "calibration"
OF_SENTENCES: Final = "calibration_of_sentences"
"""Entries of a model's manifest."""


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """A probability that rises with the log-odds.

    Args:
        center: the log-odds at which it is 1/2.
        temperature: log-odds in one unit of calibrated log-odds; above 0.
    """

    center: float = 0.0
    temperature: float = 1.0

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Sigmoid:
        """Read what `dataclasses.asdict` made of one.

        Raises:
            InvalidArgumentError: a number is none, or out of range.
            KeyError: one is missing.
        """
        return cls(number_in(entry, "center"), number_in(entry, "temperature", LEAST_POSITIVE))

    def __call__(self, log_odds: float) -> float:
        """Return the probability.

        >>> Sigmoid(center=2.0, temperature=4.0)(2.0)
        0.5
        """
        return float(_sigmoid(np.float64(self.log_odds(log_odds))))

    def log_odds(self, log_odds: float) -> float:
        """Return the probability as log-odds: the reader's, calibrated.

        >>> Sigmoid(center=2.0, temperature=4.0).log_odds(6.0)
        1.0
        """
        return (log_odds - self.center) / self.temperature


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a reader's log-odds mean.

    Args:
        threshold: the log-odds from which on an answer is given.
        right: the probability that the span is right; more precisely, the F1 to be expected.
        answerable: the probability that the review has an answer at all.
        fitted_on: the labelled questions that it was fitted on; None if it was not fitted.
    """

    threshold: float = 0.0
    right: Sigmoid = Sigmoid()
    answerable: Sigmoid = Sigmoid()
    fitted_on: str | None = None

    def at(self, temperature: float) -> Calibration:
        """Return the same with another temperature.

        >>> Calibration().at(2.0).right
        Sigmoid(center=0.0, temperature=2.0)
        """
        return replace(
            self,
            right=replace(self.right, temperature=temperature),
            answerable=replace(self.answerable, temperature=temperature),
        )

    def moved(self, by: float) -> Calibration:
        """Return the same for log-odds that are larger by so much, and mean the same.

        >>> Calibration(threshold=1.0, right=Sigmoid(2.0, 3.0)).moved(0.5)
        ... # doctest: +NORMALIZE_WHITESPACE
        Calibration(threshold=1.5, right=Sigmoid(center=2.5, temperature=3.0),
            answerable=Sigmoid(center=0.5, temperature=1.0), fitted_on=None)
        """
        right, answerable = (
            Sigmoid(round(each.center + by, 3), each.temperature)
            for each in (self.right, self.answerable)
        )
        return replace(
            self, threshold=round(self.threshold + by, 3), right=right, answerable=answerable
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a model's manifest."""
        return asdict(self)

    @classmethod
    def from_manifest(
        cls, manifest: Mapping[str, Any], *, where: Path | None = None, of_sentences: bool = False
    ) -> Calibration:
        """Read the entry of a model's manifest; a model without one is not calibrated.

        Args:
            manifest: an export's manifest, or a checkpoint's record.
            where: its file, for errors.
            of_sentences: read what was fitted where the best sentences are read; without it, as
                without this, what was fitted on whole reviews.

        Raises:
            ModelError: the entry is damaged.
        """
        entry = manifest.get(WHOLE)
        if of_sentences and manifest.get(OF_SENTENCES) is not None:
            entry = manifest[OF_SENTENCES]
        if entry is None:
            return cls()
        try:
            right, answerable = (Sigmoid.from_dict(entry[name]) for name in ("right", "answerable"))
            return cls(number_in(entry, "threshold"), right, answerable, entry.get("fitted_on"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the manifest's calibration is damaged: {error!r}",
                where=None if where is None else str(where),
                remedy="Delete that entry, and fit it again: qa-eval calibrate --write.",
            ) from error


def calibration_of(location: ModelLocation, *, of_sentences: bool = False) -> Calibration:
    """Return what was fitted with a model: in an export's manifest, in a checkpoint's record.

    Args:
        location: the model's.
        of_sentences: see `Calibration.from_manifest`.

    Raises:
        ModelError: it is damaged.
    """
    record, where = _record_of(location), _place_of_record(location)
    return Calibration.from_manifest(record, where=where, of_sentences=of_sentences)


def keep_calibration(
    calibration: Calibration, location: ModelLocation, *, of_sentences: bool = False
) -> None:
    """Keep a calibration with its model, where every reader of it finds it.

    Args:
        calibration: what was fitted.
        location: the model's.
        of_sentences: whether it was fitted where the best sentences are read, not whole reviews.

    Raises:
        ModelError: it cannot be written.
    """
    entry = OF_SENTENCES if of_sentences else WHOLE
    record = {**_record_of(location), entry: calibration.to_dict()}
    target = _place_of_record(location)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ModelError(
            f"the calibration cannot be written: {error.strerror}",
            where=str(target),
            remedy="Copy the model to a folder of your own, and name that.",
        ) from error


def _place_of_record(location: ModelLocation) -> Path:
    return location.path / (MANIFEST if location.format == "onnx" else TRAINING)


def _record_of(location: ModelLocation) -> dict[str, Any]:
    place = _place_of_record(location)
    if location.format == "onnx":
        return read_manifest(location.path)
    try:
        record: dict[str, Any] = orjson.loads(place.read_bytes()) if place.is_file() else {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(
            f"the record of its training cannot be read: {error}",
            where=str(place),
            remedy="Train the model again, or delete the file, and with it its calibration.",
        ) from error
    return record


def fit_calibration(
    log_odds: ArrayLike,
    f1_answered: ArrayLike,
    answerable: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    fitted_on: str | None = None,
) -> Calibration:
    """Fit the threshold and both probabilities on labelled questions.

    Args:
        log_odds: of the best span for each question, answer or not, shape (questions,).
        f1_answered: the F1 of that span; 0 where the question has no answer.
        answerable: whether the question has an answer.
        weights: how much each question counts; None: all alike.
        fitted_on: what to remember of the questions.

    Returns:
        The threshold with the highest mean F1 (abstention is worth 1 on a question without an
        answer), and the sigmoids under which the F1s, and "the question has an answer", are
        likeliest.
    """
    has_answer = np.asarray(answerable, dtype=bool)
    weight = np.ones(len(has_answer)) if weights is None else np.asarray(weights, np.float64)
    f1 = np.where(has_answer, np.asarray(f1_answered, np.float64), 0.0)
    return Calibration(
        round(fit_threshold(log_odds, f1 * weight, ~has_answer * weight), 3),
        right=fit_sigmoid(log_odds, f1, weight),
        answerable=fit_sigmoid(log_odds, has_answer, weight),
        fitted_on=fitted_on,
    )


def fit_threshold(log_odds: ArrayLike, if_answered: ArrayLike, if_abstaining: ArrayLike) -> float:
    """Find the threshold with the highest total score.

    Args:
        log_odds: a question is answered if its log-odds reach the threshold.
        if_answered: what a question is worth if it is answered.
        if_abstaining: what it is worth if it is not.

    Returns:
        The middle of the best gap between two neighbouring log-odds; of several as good, the
        widest; beyond the outermost, by 1, where answering all or none is best.

    >>> fit_threshold([1.0, 2.0, 4.0, 5.0], [0, 0, 1, 1], [1, 1, 0, 0])
    3.0
    """
    odds = np.asarray(log_odds, dtype=np.float64)
    order = np.argsort(odds, kind="stable")
    odds = odds[order]
    gain = (np.asarray(if_abstaining, dtype=float) - np.asarray(if_answered, dtype=float))[order]
    total = np.concatenate(([0.0], np.cumsum(gain)))  # abstaining on the first n
    edges = np.concatenate(([odds[0] - 2], odds, [odds[-1] + 2]))
    width = np.diff(edges)
    total[width <= 0] = -np.inf
    best = np.flatnonzero(total >= total.max() - 1e-9)
    chosen = best[np.argmax(width[best])]
    return float((edges[chosen] + edges[chosen + 1]) / 2)


def fit_sigmoid(
    log_odds: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None = None
) -> Sigmoid:
    """Fit the probability under which the outcomes are likeliest (Platt scaling).

    The log-likelihood of `sigmoid((log_odds - center) / temperature)` is concave in
    1 / temperature and -center / temperature, and Newton's steps find its peak. As in Platt,
    Probabilistic Outputs for Support Vector Machines, 1999, a right answer counts as slightly
    less than certain, so that there is a peak even where log-odds part right from wrong.

    Args:
        log_odds: of each answer.
        outcome: whether it was right, or how far, 0 to 1.
        weights: how much each answer counts; None: all alike.

    Returns:
        Both numbers to three digits; the temperature is from 0.01 to 1000.
    """
    odds = np.asarray(log_odds, dtype=np.float64)
    right = np.asarray(outcome, dtype=np.float64)
    weight = np.ones(len(odds)) if weights is None else np.asarray(weights, np.float64)
    weight = weight * len(odds) / weight.sum()
    yes, no = (weight * right).sum(), (weight * (1 - right)).sum()
    target = right * (yes + 1) / (yes + 2) + (1 - right) / (no + 2)
    scale = float(odds.std()) or 1.0
    inputs = np.stack([(odds - odds.mean()) / scale, np.ones_like(odds)], axis=1)
    slope, intercept = 0.0, float(np.log((yes + 1) / (no + 1)))
    for _ in range(100):
        told = _sigmoid(inputs @ np.array([slope, intercept]))
        gradient = inputs.T @ (weight * (target - told))
        curvature = (inputs * (weight * told * (1 - told))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        slope, intercept = np.array([slope, intercept]) + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    temperature = float(np.clip(scale / slope, 0.01, 1000.0)) if slope > 0 else 1000.0
    center = float(odds.mean() - intercept * temperature)
    return Sigmoid(round(center, 3), round(temperature, 3))


def log_odds_of(probability: float) -> float:
    """Return a probability as log-odds, which stay finite at 0 and 1.

    >>> log_odds_of(0.5), round(log_odds_of(1.0), 1)
    (0.0, 34.5)
    """
    within = min(max(probability, 1e-15), 1 - 1e-15)
    return float(np.log(within / (1 - within)))


def expected_calibration_error(probabilities: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Measure how far probabilities are from frequencies, on average.

    Args:
        probabilities: as told, 0 to 1.
        right: what happened.
        bins: equal parts of 0 to 1; within each the mean probability is compared with the
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
