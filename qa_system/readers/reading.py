"""What a reader found for a question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from haystack.dataclasses import ExtractedAnswer

from qa_system.readers.calibration import Calibration
from qa_system.records import Decision

__all__ = ["Reading", "reading_of"]

NOTHING_TO_DECIDE = Decision(None, 0.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader found for one question.

    Args:
        answers: those whose score reaches the threshold, best first; none of them means
            "the reviews don't say".
        candidates: the best spans whatever the threshold: an answer forced.
        no_answer_probability: see `ExtractiveReader`.
        log_odds: of each document's best span, in the order of the documents: how much each of
            them answers. Minus infinity where nothing of a document was read.
        calibrated: the same, as log-odds that the document has an answer at all.
        decision: whether there are answers, by the best candidate's score.
    """

    answers: tuple[ExtractedAnswer, ...]
    candidates: tuple[ExtractedAnswer, ...]
    no_answer_probability: float
    log_odds: tuple[float, ...] = ()
    calibrated: tuple[float, ...] = ()
    decision: Decision = NOTHING_TO_DECIDE

    @property
    def read(self) -> int:
        """How many documents were read, whole or in part."""
        return sum(map(math.isfinite, self.log_odds))


def reading_of(
    candidates: Sequence[ExtractedAnswer], calibration: Calibration, log_odds: tuple[float, ...]
) -> Reading:
    """Return what was found, with the probabilities and the decision of a calibration.

    Args:
        candidates: the best spans, best first.
        calibration: what their log-odds mean.
        log_odds: of each document's best span.
    """
    best = candidates[0].score if candidates else None
    decision = Decision(best, calibration.right(calibration.threshold))
    return Reading(
        answers=tuple(c for c in candidates if c.score >= decision.threshold),
        candidates=tuple(candidates),
        no_answer_probability=1.0 - calibration.answerable(max(log_odds, default=-math.inf)),
        log_odds=log_odds,
        calibrated=tuple(calibration.answerable.log_odds(each) for each in log_odds),
        decision=decision,
    )
