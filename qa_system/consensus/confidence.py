"""What confidences are worth in answers that users get, fitted with whole pipelines.

A reader's own calibration is fitted on one review. What users get went through the retriever, the
reader, the judge and the counting. A file of confidences keeps, for each pipeline
that was fitted, what makes it one: the hashes of reader and judge, how sentences are found, whether
they or whole reviews are read, and how many tokens of them. One file ships with the bundled models.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from qa_system.arguments import number_in
from qa_system.config import Settings
from qa_system.config.shipped import resource
from qa_system.consensus.max_error import lowest_error, threshold_for
from qa_system.consensus.weighing import Counting
from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import locate, weights_sha256
from qa_system.readers.calibration import Sigmoid, log_odds_of

__all__ = [
    "Confidence",
    "PipelineKey",
    "confidence_of",
    "counting_of",
    "keep_confidence",
    "kept_in",
    "key_of",
    "place_of",
    "written_to",
]

SHIPPED: Final = "confidence.json"
FORMAT: Final = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineKey:
    """What a confidence was fitted with.

    Args:
        reader: sha256 of its weights.
        judge: sha256 of its weights; None: nothing is judged.
        mode: `retriever.mode`.
        evidence: what is read: sentences or reviews.
        budget: tokens of sentences that are read; None where whole reviews are.
    """

    reader: str
    judge: str | None
    mode: str
    evidence: str
    budget: int | None


@dataclass(frozen=True, slots=True)
class Confidence:
    """From which confidence on there is an answer, and how probably it is then right.

    Args:
        threshold: the confidence of the surest sentence from which on there is an answer. It is
            the probability that the sentence is a mention (`Weighing`); without a judge, the
            reader's confidence.
        right: the probability that an answer is right, from the log-odds of that confidence.
        outcomes: of each question that it was fitted on: the confidence of the surest sentence,
            and whether the answer was right; for `answers.max_error`.
        fitted_on: the names of these questions.
        counting: how mentions and stances are told; None: nothing was judged.

    >>> fitted = Confidence(0.5, Sigmoid(center=1.0, temperature=2.0))
    >>> round(fitted.probability(0.5), 3)
    0.378
    """

    threshold: float
    right: Sigmoid
    outcomes: tuple[tuple[float, bool], ...] = ()
    fitted_on: str | None = None
    counting: Counting | None = None

    def probability(self, confidence: float) -> float:
        """Return the probability that an answer with a sentence of this confidence is right."""
        return self.right(log_odds_of(confidence))

    def with_error(self, max_error: float) -> Confidence:
        """Return the same with the threshold that keeps an error.

        Raises:
            ConfigError: no threshold keeps it.
        """
        threshold = threshold_for(self.outcomes, max_error)
        if threshold is None:
            lowest = lowest_error(self.outcomes)
            raise ConfigError(
                f"no threshold keeps the error at {max_error:g} with 95 % confidence"
                + ("" if lowest is None else f"; the lowest error that one keeps is {lowest:g}"),
                where=f"answers.max_error, on {self.fitted_on}",
                remedy="Fit on more questions (qa-eval calibrate --pipeline --dataset FILE --write)"
                + ("." if lowest is None else f", or set answers.max_error to {lowest:g} or more."),
            )
        return replace(self, threshold=max(threshold, self.threshold))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "threshold": self.threshold,
            "right": asdict(self.right),
            "fitted_on": self.fitted_on,
            "outcomes": [[score, int(right)] for score, right in self.outcomes],
            "counting": None if self.counting is None else self.counting.to_dict(),
        }

    @classmethod
    def from_dict(cls, tree: dict[str, Any], where: str | None = None) -> Confidence:
        """Read what `to_dict` returned.

        Args:
            tree: JSON values.
            where: their file, for the error.

        Raises:
            ModelError: a value is missing, of another kind or out of range.
        """
        try:
            return cls(
                number_in(tree, "threshold", 0, 1),
                Sigmoid.from_dict(tree["right"]),
                tuple(_outcome(*each) for each in tree["outcomes"]),
                tree["fitted_on"],
                Counting.from_dict(tree["counting"]) if tree.get("counting") else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(error, where) from error


def key_of(settings: Settings, *, reads_sentences: bool) -> PipelineKey:
    """Return what a confidence for these settings has to be fitted with.

    Args:
        settings: of the pipeline.
        reads_sentences: whether it reads sentences, or whole reviews.

    Raises:
        ModelError: reader or judge cannot be found.
    """
    is_judging = settings.judge.sentences > 0
    return PipelineKey(
        reader=weights_sha256(locate(settings.reader.model)),
        judge=weights_sha256(locate(settings.judge.model)) if is_judging else None,
        mode=settings.retriever.mode,
        evidence="sentences" if reads_sentences else "reviews",
        budget=settings.reader.budget if reads_sentences else None,
    )


def confidence_of(settings: Settings, *, reads_sentences: bool) -> Confidence | None:
    """Return what was fitted with the pipeline of these settings; None: nothing was.

    Settings that say from where on something is an answer (`reader.no_answer_threshold`,
    `reader.temperature`) take the place of what was fitted.

    Args:
        settings: `answers.confidence` names the file; None: the one that ships; `/dev/null`: none.
        reads_sentences: as for `key_of`.

    Raises:
        ConfigError: `answers.max_error` cannot be kept, or nothing was fitted with this pipeline.
        ModelError: the file is missing or damaged, or a model cannot be found.
    """
    own = settings.reader.no_answer_threshold, settings.reader.temperature
    found = None
    if all(each is None for each in own) and (kept := kept_in(place_of(settings))):
        key = key_of(settings, reads_sentences=reads_sentences)
        found = kept.get(key)
        if settings.answers.confidence and all(each.reader != key.reader for each in kept):
            _log.warning(
                "%s: nothing in it was fitted to the reader %s, whose own confidences are used. "
                "Fit it: qa-eval calibrate --pipeline --dataset FILE --write",
                settings.answers.confidence,
                settings.reader.model,
            )
    if settings.answers.max_error is None:
        return found
    if found is None:
        raise ConfigError(
            "no error is known of a pipeline that was not fitted",
            where="answers.max_error",
            remedy="Fit it with these settings: qa-eval calibrate --pipeline --dataset FILE "
            "--write. Without reader.no_answer_threshold and reader.temperature.",
        )
    return found.with_error(settings.answers.max_error)


def counting_of(settings: Settings, *, reads_sentences: bool) -> Counting | None:
    """Return how mentions are counted, as fitted with the pipeline of these settings; None: not.

    Raises:
        ModelError: the file is damaged, or a model cannot be found.
    """
    kept = kept_in(place_of(settings))
    found = kept.get(key_of(settings, reads_sentences=reads_sentences)) if kept else None
    return None if found is None else found.counting


def kept_in(place: Path) -> dict[PipelineKey, Confidence]:
    """Return what a file of confidences has; `/dev/null` has none.

    Raises:
        ModelError: it is missing or damaged.
    """
    if place == Path(os.devnull):
        return {}
    try:
        tree = orjson.loads(place.read_bytes())
        if tree["format"] != FORMAT:
            raise ValueError(f"format is {tree['format']!r}, not {FORMAT}")
        return {
            PipelineKey(**each["pipeline"]): Confidence.from_dict(each["confidence"], str(place))
            for each in tree["fitted"]
        }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(error, str(place)) from error


def _outcome(score: float, right: bool) -> tuple[float, bool]:
    number_in({"outcomes": right}, "outcomes", 0, 1)
    return number_in({"outcomes": score}, "outcomes", 0, 1), bool(right)


def _unreadable(error: Exception, where: str | None) -> ModelError:
    missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    told = (error.strerror or missing) if isinstance(error, OSError) else missing
    anew = "make it" if isinstance(error, FileNotFoundError) else "delete it and fit again"
    return ModelError(
        f"the fitted confidences cannot be read: {told}",
        where=where,
        remedy=f"Name another file (answers.confidence), or {anew}: "
        "qa-eval calibrate --pipeline --dataset FILE --write.",
    )


def written_to(settings: Settings) -> Path:
    """Return the file that what is fitted is written to.

    Raises:
        ConfigError: `answers.confidence` names none.
    """
    if settings.answers.confidence is None:
        raise ConfigError(
            "there is no file to write to",
            where="answers.confidence",
            remedy="Name one in your configuration, or by --set answers.confidence=FILE.",
        )
    return Path(settings.answers.confidence)


def keep_confidence(confidence: Confidence, settings: Settings, *, reads_sentences: bool) -> Path:
    """Write what was fitted with a pipeline into its file, beside what was fitted with others.

    Returns:
        The file.

    Raises:
        ConfigError: `answers.confidence` names no file.
        ModelError: the file is damaged or cannot be written.
    """
    place = written_to(settings)
    former = kept_in(place) if os.path.lexists(place) else {}
    kept = {**former, key_of(settings, reads_sentences=reads_sentences): confidence}
    fitted = [{"pipeline": asdict(key), "confidence": each.to_dict()} for key, each in kept.items()]
    temporary = place.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(orjson.dumps({"format": FORMAT, "fitted": fitted}) + b"\n")
        temporary.replace(place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ModelError(
            f"the confidences cannot be written: {error.strerror}",
            where=str(place),
            remedy="Name another file: --set answers.confidence=FILE.",
        ) from error
    return place


def place_of(settings: Settings) -> Path:
    """Return the file of confidences: the one that is set, or else the one that ships."""
    chosen = settings.answers.confidence
    return resource("configs") / SHIPPED if chosen is None else Path(chosen)
