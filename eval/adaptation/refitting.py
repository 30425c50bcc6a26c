"""What was fitted to one reader is fitted anew for the next: calibration and confidence."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qa_system.config import Settings, changed
from qa_system.console.wording import counted
from qa_system.errors import ConfigError, EvaluationError
from qa_system.models.locate import SAMPLE, locate
from qa_system.records import Label

__all__ = ["calibrate_sentences", "check_fit", "refit"]

QUESTIONS = 60
"""With which the calibration of sentences is fitted, at most: each is asked twice."""

_log = logging.getLogger(__name__)


def calibrate_sentences(settings: Settings, model: str, labels: Sequence[Label]) -> None:
    """Fit a reader to evidence of sentences, where the settings read sentences, and keep that.

    Args:
        settings: as users run the system.
        model: the reader's folder; its calibration on whole reviews is there.
        labels: questions that nothing was learnt from.
    """
    from eval.tasks.calibration import calibrated_of_sentences
    from qa_system.datasets.dataset import dataset_of
    from qa_system.pipelines import reads_sentences
    from qa_system.readers.calibration import keep_calibration

    if not reads_sentences(settings):
        return
    own = changed(settings, {"reader.model": model, "answers.max_error": None})
    asked = dataset_of("held out of training", tuple(labels[:QUESTIONS]))
    try:
        fitted, _ = calibrated_of_sentences([asked], own, [None])
    except EvaluationError as error:
        _log.warning("the calibration of whole reviews is used for sentences: %s", error.what)
        return
    keep_calibration(fitted, locate(model), of_sentences=True)


def check_fit(settings: Settings, marked: Sequence[str]) -> None:
    """Refuse, before anything is trained, what could not be kept after a promotion.

    Raises:
        ConfigError: the settings promise an error, and nothing could be fitted to a new reader.
    """
    if settings.answers.max_error is not None and not marked:
        raise ConfigError(
            "the error that is promised would not be known of a new reader",
            where="answers.max_error",
            remedy="Name the questions to fit it on: --marked FILE.",
        )
    if marked and settings.answers.confidence is None:
        raise ConfigError(
            "there is no file to write what is fitted to",
            where="answers.confidence",
            remedy="Name one in your configuration, or by --set answers.confidence=FILE.",
        )


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
    fitted, measured, _ = confidence_fitted(questions, own)
    place = keep_confidence(fitted, own, reads_sentences=reads_sentences(own))
    asked = sum(len(each) for _, each in questions)
    _log.info("the confidence of answers was fitted on %s", counted(asked, "question"))
    return {"fitted": True, "file": str(place), "out_of_fold": measured}
