"""A judge in training, measured on labelled pairs, and what its logits mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.datasets.pairs import Pair
from qa_system.judging.judgements import HEADS, Calibration, Judgements

__all__ = ["average_precision", "calibrate", "macro_f1", "measure"]

FloatArray = NDArray[np.float32]

TEMPERATURES: Final = np.geomspace(0.5, 4.0, 43)
SHIFTS: Final = np.linspace(-3.0, 3.0, 61)
SHIFTED: Final = ("answers", "polarity")
"""The heads that have a logit from which something is taken."""


def measure(pairs: Sequence[Pair], judged: Judgements) -> dict[str, float]:
    """Measure judgements of labelled pairs.

    Returns:
        `map`: the mean average precision of a question's texts in the order of `answers`, of
        questions that some texts answer and others do not; `polarity` and `stance`: macro-F1 over
        the classes that are there; `subjective`: the share that is right; each where there are
        labels; `f1`: their mean.
    """
    scores = {}
    by_question: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        if "answers" in pair.labels:
            by_question[pair.question, pair.item_id].append(place)
    precisions = []
    for places in by_question.values():
        right = [pairs[place].labels["answers"][0] >= 0.5 for place in places]
        if 0 < sum(right) < len(right):
            precisions.append(average_precision(judged.answers[places].tolist(), right))
    if precisions:
        scores["map"] = fmean(precisions)
    for name in ("stance", "polarity"):
        known = [place for place, pair in enumerate(pairs) if name in pair.labels]
        if known:
            wanted = [int(np.argmax(pairs[place].labels[name])) for place in known]
            found = getattr(judged, name)[known].argmax(axis=1).tolist()
            scores[name] = macro_f1(wanted, found)
    known = [place for place, pair in enumerate(pairs) if "subjective" in pair.labels]
    if known:
        said = judged.subjective[known] >= 0.5
        wanted_all = np.array([pairs[place].labels["subjective"][0] for place in known]) >= 0.5
        scores["subjective"] = float((said == wanted_all).mean())
    return scores | {"f1": fmean(scores.values())}


def average_precision(scores: Sequence[float], relevant: Sequence[bool]) -> float:
    """Return the average precision of an order; of equal scores the earlier is first.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    hits = 0
    total = 0.0
    for rank, place in enumerate(order, start=1):
        if relevant[place]:
            hits += 1
            total += hits / rank
    return total / hits if hits else 0.0


def macro_f1(wanted: Sequence[int], found: Sequence[int]) -> float:
    """Return the mean F1 of the classes that are wanted somewhere.

    >>> macro_f1([0, 0, 1], [0, 1, 1])
    0.6666666666666666
    """
    scores = []
    for each in sorted(set(wanted)):
        both = sum(a == b == each for a, b in zip(wanted, found, strict=True))
        scores.append(2 * both / (wanted.count(each) + found.count(each)))
    return fmean(scores)


def calibrate(pairs: Sequence[Pair], logits: FloatArray, fitted_on: str) -> Calibration:
    """Fit what a judge's logits mean: the likeliest temperatures, and the threshold of the best F1.

    Polarity is fitted on texts that answer, since it is asked of those.

    Args:
        pairs: labelled, and not learnt from.
        logits: theirs, (n, 9).
        fitted_on: what they are, for the record.
    """
    temperatures: dict[str, float] = {}
    shifts: dict[str, float] = {}
    for name in HEADS:
        known = [
            place
            for place, pair in enumerate(pairs)
            if name in pair.labels and (name != "polarity" or _may_answer(pair))
        ]
        if len(known) < 2 - (name == "answers"):
            continue
        wanted = np.array([pairs[place].labels[name] for place in known])
        shift, value = _likeliest(logits[known], name, wanted)
        temperatures[name], shifts[name] = round(value, 3), round(shift, 3)
    known = [place for place, pair in enumerate(pairs) if "answers" in pair.labels]
    fitted = replace(_calibration(temperatures, shifts), fitted_on=fitted_on)
    if not known:
        return fitted
    right = np.array([pairs[place].labels["answers"][0] >= 0.5 for place in known])
    answers = Judgements.of_logits(logits[known], fitted).answers
    return replace(fitted, threshold=_threshold(answers, right))


def _may_answer(pair: Pair) -> bool:
    return pair.labels.get("answers", (1.0,))[0] >= 0.5


def _calibration(temperatures: Mapping[str, float], shifts: Mapping[str, float]) -> Calibration:
    return Calibration(
        temperatures=temperatures,
        shift=shifts.get("answers", 0.0),
        neither=shifts.get("polarity", 0.0),
    )


def _likeliest(logits: FloatArray, name: str, wanted: FloatArray) -> tuple[float, float]:
    """Return the shift and the temperature with which a head's labels are likeliest.

    Args:
        logits: (n, 9).
        name: of the head.
        wanted: the labels, (n, classes).
    """

    def surprise(shift: float, value: float) -> float:
        tried = _calibration({name: value}, {name: shift})
        return _surprise(getattr(Judgements.of_logits(logits, tried), name), wanted)

    shifts = SHIFTS.tolist() if name in SHIFTED else [0.0]
    tried = ((surprise(s, t), s, t) for s in shifts for t in TEMPERATURES.tolist())
    _, shift, value = min(tried)
    return shift, value


def _surprise(found: FloatArray, wanted: FloatArray) -> float:
    """Return the mean cross-entropy of probabilities with labels."""
    sure = np.clip(found.astype(np.float64), 1e-6, 1 - 1e-6)
    if wanted.ndim > 1 and wanted.shape[1] > 1:
        return float(-(wanted * np.log(sure)).sum(axis=1).mean())
    flat = wanted.reshape(-1)
    return float(-(flat * np.log(sure) + (1 - flat) * np.log(1 - sure)).mean())


def _threshold(answers: FloatArray, right: NDArray[np.bool_]) -> float:
    """Return the probability from which on texts count as answers, for the best F1."""
    candidates = np.unique(np.round(answers, 2))
    counts = [
        ((answers >= each) & right).sum() / ((answers >= each).sum() + right.sum())
        for each in candidates
    ]
    return round(float(candidates[int(np.argmax(counts))]), 2)
