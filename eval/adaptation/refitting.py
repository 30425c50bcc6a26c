"""What was fitted to one reader is fitted anew for the next: calibration and confidence."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qa_system.config import Settings, changed
from qa_system.consensus.confidence import written_to
from qa_system.console.wording import counted
from qa_system.errors import ConfigError
from qa_system.models.locate import SAMPLE, ModelLocation
from qa_system.readers.calibration import calibration_of, keep_calibration

__all__ = ["carry_over", "check_fit", "refit"]

_log = logging.getLogger(__name__)


def carry_over(serving: ModelLocation, new: ModelLocation) -> None:
    """Calibrate a new reader for sentences as far from whole reviews as the one that serves.

    A few labels are enough to calibrate a reader on whole reviews, as training does, and too few to
    fit anew how much more cautious it has to be with the best sentences of many reviews. That
    distance is taken from the reader that serves. If training could not calibrate the new reader,
    it has the calibration of the one that serves.

    Raises:
        ModelError: a calibration is damaged, or cannot be written.
    """
    before, of_sentences = calibration_of(serving), calibration_of(serving, of_sentences=True)
    own = calibration_of(new)
    if own.fitted_on is None and before.fitted_on is not None:
        own = before
        keep_calibration(own, new)
    by = of_sentences.threshold - before.threshold
    if own.fitted_on is None or of_sentences == before:
        return
    fitted_on = f"{own.fitted_on}, moved by {by:+.3f} as with the reader before"
    keep_calibration(replace(own.moved(by), fitted_on=fitted_on), new, of_sentences=True)


def check_fit(settings: Settings, marked: Sequence[str]) -> None:
    """Refuse, before anything is trained, what could not be kept after a promotion.

    Raises:
        ConfigError: the settings promise an error, and nothing could be fitted to a new reader.
    """
    if settings.answers.max_error is not None and not marked:
        raise ConfigError(
            "the error that is promised would not be known of a new reader",
            where="answers.max_error",
            remedy="Name the questions to fit it on: qa-eval improve --marked FILE.",
        )
    if marked:
        written_to(settings)


def refit(settings: Settings, serving: str, model: str, marked: Sequence[str]) -> dict[str, Any]:
    """Fit the confidence of answers to a reader before it serves, or say what to run.

    What was fitted to another reader is never used with this one.

    Args:
        settings: as users run the system.
        serving: what their settings name as the reader.
        model: the new reader.
        marked: files of questions that are labelled over all reviews of their item; none: nothing
            is fitted.

    Returns:
        `fitted`, and `file` or, where nothing was fitted, what to `run`.
    """
    from eval.datasets import load_dataset
    from eval.tasks.confidence import confidence_fitted
    from qa_system.consensus.confidence import keep_confidence
    from qa_system.datasets.mentions import has_own_reviews, read_marked
    from qa_system.pipelines import reads_sentences

    own = changed(settings, {"reader.model": model})
    if not marked:
        file = settings.answers.confidence or "confidence.json"
        command = [
            *("qa-eval", "calibrate", "--pipeline", "--dataset", "FILE", "--write"),
            *("--set", f"reader.model={serving}", "--set", f"answers.confidence={file}"),
        ]
        return {"fitted": False, "run": shlex.join(command)}
    named = not all(map(has_own_reviews, marked))
    reviews = load_dataset(SAMPLE, settings).reviews if named else ()
    questions = [(Path(name).name, read_marked(name, reviews)) for name in marked]
    fitted, measured = confidence_fitted(questions, own)
    place = keep_confidence(fitted, own, reads_sentences=reads_sentences(own))
    asked = sum(len(each) for _, each in questions)
    _log.info("the confidence of answers was fitted on %s", counted(asked, "question"))
    return {"fitted": True, "file": str(place), "out_of_fold": measured}
