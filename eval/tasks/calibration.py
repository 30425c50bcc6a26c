"""Fit a reader's no-answer threshold and probabilities on its own answers to labelled questions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.runs.run import System
from eval.tasks.candidates import Selection, temporary_index
from eval.tasks.pipeline import evaluate_pipeline
from eval.tasks.reader import evaluate_reader
from qa_system.config import Settings, changed
from qa_system.console.wording import counted
from qa_system.datasets.dataset import Dataset
from qa_system.datasets.splitting import hold_out
from qa_system.errors import ConfigError, DataError, EvaluationError
from qa_system.readers.calibration import Calibration, calibration_of, fit_calibration
from qa_system.records import Label
from qa_system.retrievers.registry import mode_of
from qa_system.system import QASystem

__all__ = ["calibrated", "calibrated_of_sentences", "equally_cautious", "fit_to", "part_to_fit_on"]

DEV = "dev"

_log = logging.getLogger(__name__)


def part_to_fit_on(data: Dataset, split: str | None) -> str | None:
    """Return the split to fit on: the one named, or else `dev`; None for data in one part.

    Data in one part is fitted on whole, with a warning: whatever is evaluated on it afterwards
    has been seen.

    Raises:
        DataError: no split is named, and there are splits, but no `dev`.
    """
    if split is not None:
        return split
    if not data.splits:
        _log.warning(
            "%s has no splits: questions of the whole are fitted on, so that no score on it is one "
            "of unseen questions any more",
            data.path,
        )
        return None
    if DEV not in data.splits:
        raise DataError(
            f"there is no split {DEV!r} to fit on",
            where=data.path,
            remedy=f"Choose one of {', '.join(data.splits)}: qa-eval calibrate --split NAME.",
        )
    return DEV


def calibrated(
    data: Sequence[Dataset],
    settings: Settings,
    parts: Sequence[str | None],
    *,
    held_out: float | None = None,
    seed: int = 13,
) -> tuple[Calibration, list[System]]:
    """Evaluate the configured reader on several data sets, and fit its calibration to all of them.

    Args:
        data: each has the same weight.
        settings: `reader` says what runs.
        parts: the split of each, as `part_to_fit_on` returns it.
        held_out: use this share of the split's items only; None: all of them.
        seed: random seed of `held_out`.

    Returns:
        The calibration, and the reader's evaluation on each data set.

    Raises:
        EvaluationError: see `fit_to`.
        DataError: there is no such split.
        ModelError: the reader cannot be loaded.
    """
    from qa_system.pipelines import build_reader

    labels, names = _labels(data, parts, held_out, seed)
    reader = build_reader(settings)
    reader.warm_up()
    runs = [evaluate_reader(each, reader) for each in labels]
    return fit_to(runs, names), runs


def calibrated_of_sentences(
    data: Sequence[Dataset],
    settings: Settings,
    parts: Sequence[str | None],
    *,
    held_out: float | None = None,
    seed: int = 13,
) -> tuple[Calibration, list[System]]:
    """Move the reader's calibration so that it is as cautious with sentences as with reviews.

    The threshold is not fitted to F1. A label tells about one review, and another one may answer
    its question: a pipeline has the best F1 if it answers hardly any question. Instead, the
    pipeline that reads sentences abstains on as many unanswerable questions as the one that reads
    whole reviews.

    Args:
        data: each has the same weight.
        settings: of both pipelines, but for `reader.evidence`.
        parts: the split of each, as `part_to_fit_on` returns it.
        held_out: use this share of the split's items only; None: all of them.
        seed: random seed of `held_out`.

    Returns:
        The calibration, and the evaluation of the pipeline that reads sentences on each data set.

    Raises:
        ConfigError: reviews are read whole with these settings.
        EvaluationError: no question is unanswerable, or the pipeline fails on all.
        DataError: there is no such split.
        ModelError: the reader cannot be loaded.
    """
    from qa_system.models.locate import locate

    _refuse_whole_reviews(settings)
    labels, names = _labels(data, parts, held_out, seed)
    whole = calibration_of(locate(settings.reader.model))
    embed = mode_of(settings).needs_embeddings
    runs: dict[str, list[System]] = {"reviews": [], "sentences": []}
    for each, asked in zip(data, labels, strict=True):
        about = {label.item_id for label in asked}
        reviews = [one for one in each.reviews if None in about or one.item_id in about]
        with temporary_index(reviews, settings, embed=embed) as placed:
            for evidence, own in runs.items():
                own.append(_asked(asked, changed(placed, {"reader.evidence": evidence})))
    before, weights = _unanswerable(runs["reviews"], names)
    after, _ = _unanswerable(runs["sentences"], names)
    share = float(weights[before < whole.threshold].sum() / weights.sum())
    threshold = equally_cautious(after, weights, share)
    moved = whole.moved(threshold - whole.threshold)
    return replace(moved, fitted_on=names), runs["sentences"]


def _refuse_whole_reviews(settings: Settings) -> None:
    from qa_system.pipelines import reads_sentences

    if not reads_sentences(changed(settings, {"reader.evidence": "sentences"})):
        raise ConfigError(
            "with a ranker, or a retriever of another package, reviews are read whole",
            remedy="Fit for sentences without a ranker, with retriever.mode bm25, dense, hybrid or "
            "sentences.",
        )


def _unanswerable(
    runs: Sequence[System], names: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best log-odds of each unanswerable question, and how much it counts."""
    found = [
        (
            -np.inf if (odds := row.output.get("reader_log_odds")) is None else odds,
            1 / len(run.rows),
        )
        for run in runs
        for row in run.rows
        if not row.answerable
    ]
    if not found:
        raise EvaluationError(
            "a threshold needs questions without an answer",
            where=names,
            remedy="Fit on another data set or split.",
        )
    log_odds, weights = np.array(found, dtype=np.float64).T
    return log_odds, weights


def _asked(labels: Sequence[Label], settings: Settings) -> System:
    with QASystem.open(settings) as system:
        scope = Selection().scope_of(labels)
        return evaluate_pipeline(labels, system, scope=scope, alone=False)[0]["pipeline"]


def _labels(
    data: Sequence[Dataset], parts: Sequence[str | None], held_out: float | None, seed: int
) -> tuple[list[tuple[Label, ...]], str]:
    """Return the questions of each data set, and the name of all of them in a report."""
    labels = [tuple(each.labels_of(part)) for each, part in zip(data, parts, strict=True)]
    if held_out is not None:
        labels = [hold_out(each, held_out, seed)[1] for each in labels]
    names = ", ".join(
        f"{Path(each.path).name} {_named(part, held_out)} ({counted(len(asked), 'question')})"
        for each, part, asked in zip(data, parts, labels, strict=True)
    )
    return labels, names


def _named(part: str | None, held_out: float | None) -> str:
    whole = "all of it" if part is None else part
    return whole if held_out is None else f"{held_out:g} of {whole}, held out"


def fit_to(evaluations: Sequence[System], fitted_on: str) -> Calibration:
    """Fit a reader's no-answer threshold and probabilities on evaluations of it.

    Args:
        evaluations: over questions that are not tested on; each has the same weight, however
            many questions it has.
        fitted_on: the name under which the calibration remembers them.

    Raises:
        EvaluationError: the questions are all answerable, or all unanswerable, so that nothing
            shows where an answer should be given.
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


def equally_cautious(log_odds: ArrayLike, weights: ArrayLike, share: float) -> float:
    """Return the threshold that keeps a system from answering a share of some questions.

    Args:
        log_odds: of the best answer to each question; minus infinity: there is none.
        weights: how much each question counts.
        share: of the questions that are not to be answered, 0 to 1.

    Returns:
        The middle between the two log-odds where the share is nearest; 1 beyond the outermost if
        it is nearest there.

    >>> equally_cautious([1.0, 2.0, 4.0, 5.0], [1, 1, 1, 1], 0.5)
    3.0
    """
    odds, weight = np.asarray(log_odds, dtype=float), np.asarray(weights, dtype=float)
    order = np.argsort(odds, kind="stable")
    order = order[np.isfinite(odds[order])]
    if not len(order):
        return 0.0
    never = weight.sum() - weight[order].sum()
    below = np.concatenate(([never], never + np.cumsum(weight[order]))) / weight.sum()
    edges = np.concatenate(([odds[order[0]] - 2], odds[order], [odds[order[-1]] + 2]))
    away = np.abs(below - share)
    away[np.diff(edges) <= 0] = np.inf  # no threshold lies between equal log-odds
    chosen = int(np.argmin(away))
    return float((edges[chosen] + edges[chosen + 1]) / 2)
