"""What a reader's threshold and temperature should be, by its own answers to labelled questions."""

from __future__ import annotations

import os
from collections.abc import Sequence

import orjson

from eval.run import System
from qa_system.errors import EvaluationError, ModelError
from qa_system.models import MANIFEST, ModelLocation, read_manifest
from qa_system.readers.calibration import Calibration, fit_calibration

__all__ = ["calibration_of", "write_calibration"]


def calibration_of(evaluations: Sequence[System], fitted_on: str) -> Calibration:
    """Fit a reader's no-answer threshold and temperature on evaluations of it.

    Args:
        evaluations: over questions that are not tested on; each counts as much as the next,
            however many questions it has.
        fitted_on: what to remember of them.

    Raises:
        EvaluationError: the questions are all answerable, or all unanswerable, so that nothing
            says where an answer should be given.
    """
    read = [
        (odds, row.scores["forced_has_ans_f1"] or 0.0, row.answerable, 1 / len(each.rows))
        for each in evaluations
        for row in each.rows
        if (odds := row.output.get("log_odds")) is not None
    ]
    log_odds, f1_answered, answerable, weights = zip(*read, strict=True) if read else ((),) * 4
    if len(set(answerable)) < 2:
        raise EvaluationError(
            "a threshold needs questions with an answer and questions without one",
            where=fitted_on,
            remedy="Fit on another data set or split.",
        )
    return fit_calibration(log_odds, f1_answered, answerable, weights=weights, fitted_on=fitted_on)


def write_calibration(calibration: Calibration, location: ModelLocation) -> None:
    """Keep a calibration in the manifest of an export, where every reader of it finds it.

    Raises:
        ModelError: the model is a checkpoint, which has no manifest, or it cannot be written.
    """
    if location.format != "onnx":
        raise ModelError(
            f"{location.name!r} is a checkpoint, and keeps no calibration",
            where=str(location.path),
            remedy="Set reader.no_answer_threshold and reader.temperature, "
            "or export it first: qa export --help.",
        )
    manifest = read_manifest(location.path)
    manifest["calibration"] = calibration.to_dict()
    target = location.path / MANIFEST
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        temporary.replace(target)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise ModelError(
            f"the calibration cannot be written: {fault.strerror}",
            where=str(target),
            remedy="Copy the model to a folder of your own, and name that.",
        ) from fault
