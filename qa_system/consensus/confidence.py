"""What the reader's confidence is worth in answers that users get, fitted with whole pipelines.

A reader's own calibration is fitted on one review. What users get went through the retriever, the
reader, the judge and the counting. A file of confidences keeps, for each pipeline
that was fitted, what makes it one: the hashes of reader and judge, how sentences are found, whether
they or whole reviews are read, and how many tokens of them. One file ships with the bundled models.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

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
]

SHIPPED: Final = "confidence.json"
FORMAT: Final = 1


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
    """From which confidence on a mention is shown, and how probably an answer is then right.

    Args:
        threshold: the reader's confidence from which on there is an answer.
        right: the probability that an answer is right, from the log-odds of that confidence.
        outcomes: of each question that it was fitted on: the reader's highest confidence, and
            whether the answer was right; for `answers.max_error`.
        fitted_on: the names of these questions.
        counting: how mentions and stances are told; None: it was not fitted.

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
        """Return the probability that an answer with a mention of this confidence is right."""
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
                remedy="Fit on more questions (qa-eval calibrate --pipeline --write)"
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
    def from_dict(cls, tree: dict[str, Any]) -> Confidence:
        """Read what `to_dict` returned."""
        return cls(
            float(tree["threshold"]),
            Sigmoid(float(tree["right"]["center"]), float(tree["right"]["temperature"])),
            tuple((float(score), bool(right)) for score, right in tree["outcomes"]),
            tree["fitted_on"],
            Counting.from_dict(tree["counting"]) if tree.get("counting") else None,
        )


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
        settings: `answers.confidence` names the file; None: the one that ships.
        reads_sentences: as for `key_of`.

    Raises:
        ConfigError: `answers.max_error` cannot be kept, or nothing was fitted with this pipeline.
        ModelError: the file is damaged, or a model cannot be found.
    """
    own = settings.reader.no_answer_threshold, settings.reader.temperature
    found = None
    if all(each is None for each in own) and (kept := kept_in(_place_of(settings))):
        found = kept.get(key_of(settings, reads_sentences=reads_sentences))
    if settings.answers.max_error is None:
        return found
    if found is None:
        raise ConfigError(
            "no error is known of a pipeline that was not fitted",
            where="answers.max_error",
            remedy="Fit it with these settings: qa-eval calibrate --pipeline --write. Without "
            "reader.no_answer_threshold and reader.temperature.",
        )
    return found.with_error(settings.answers.max_error)


def counting_of(settings: Settings, *, reads_sentences: bool) -> Counting | None:
    """Return how mentions are counted, as fitted with the pipeline of these settings; None: not.

    Raises:
        ModelError: the file is damaged, or a model cannot be found.
    """
    kept = kept_in(_place_of(settings))
    found = kept.get(key_of(settings, reads_sentences=reads_sentences)) if kept else None
    return None if found is None else found.counting


def kept_in(place: Path) -> dict[PipelineKey, Confidence]:
    """Return what a file of confidences has; nothing, if there is none.

    Raises:
        ModelError: it is damaged.
    """
    try:
        if not place.is_file():
            return {}
        tree = orjson.loads(place.read_bytes())
        return {
            PipelineKey(**each["pipeline"]): Confidence.from_dict(each["confidence"])
            for each in tree["fitted"]
        }
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the confidences cannot be read: {error!r}",
            where=str(place),
            remedy="Fit them again: qa-eval calibrate --pipeline --write.",
        ) from error


def keep_confidence(confidence: Confidence, settings: Settings, *, reads_sentences: bool) -> Path:
    """Write what was fitted with a pipeline into its file, beside what was fitted with others.

    Returns:
        The file.

    Raises:
        ConfigError: `answers.confidence` names no file.
        ModelError: the file is damaged or cannot be written.
    """
    if settings.answers.confidence is None:
        raise ConfigError(
            "there is no file to write to",
            where="answers.confidence",
            remedy="Name one in your configuration, or by --set answers.confidence=FILE.",
        )
    place = Path(settings.answers.confidence)
    kept = {**kept_in(place), key_of(settings, reads_sentences=reads_sentences): confidence}
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


def _place_of(settings: Settings) -> Path:
    chosen = settings.answers.confidence
    return resource("configs") / SHIPPED if chosen is None else Path(chosen)
