"""What a judge says of texts, and how its logits become that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.arguments import LEAST_POSITIVE, number_in
from qa_system.errors import ModelError
from qa_system.models.locate import TRAINING, ModelLocation

__all__ = [
    "HEADS",
    "LOGITS",
    "POLARITIES",
    "STANCES",
    "Calibration",
    "Judgements",
    "calibration_of",
]

FloatArray = NDArray[np.float32]

STANCES: Final = ("yes", "no", "mixed")
"""What a text answers to a polar question."""
POLARITIES: Final = ("for", "against", "neither", "mixed")
"""Whether what a text says is good or bad for a buyer."""
HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "answers": ("answers",),
    "stance": STANCES,
    "polarity": POLARITIES,
    "subjective": ("subjective",),
}
"""The classes of each head; a head of one class is a yes or no."""
LOGITS: Final = tuple(
    name if len(classes) == 1 else f"{name}.{each}"
    for name, classes in HEADS.items()
    for each in classes
)
"""The name of each of a judge's outputs, in order."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a judge's logits mean.

    Args:
        threshold: the probability from which on a text counts as an answer.
        temperatures: logits of each head in one unit of calibrated logits; a head that is not
            named has 1.
        shift: what is taken from the logit of `answers`, before its temperature.
        neither: what is taken from the logit of `polarity.neither`, before its temperature. A judge
            calls `neither` what does not speak of the question's subject, and so also what does,
            and was not understood; this makes up for it in texts that answer.
        fitted_on: what it was fitted on; None if it was not fitted.
    """

    threshold: float = 0.5
    temperatures: Mapping[str, float] = field(default_factory=dict)
    shift: float = 0.0
    fitted_on: str | None = None
    neither: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a model's manifest."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], where: str) -> Self:
        """Read the entry of an export's manifest, or of a checkpoint's record.

        Args:
            manifest: without the entry, nothing was fitted.
            where: its file, for the error.

        Raises:
            ModelError: the entry is damaged.
        """
        entry = manifest.get("calibration")
        if entry is None:
            return cls()
        try:
            whole = {**asdict(cls()), **entry}
            of_heads = whole["temperatures"]
            unknown = sorted({*entry} - {each.name for each in fields(cls)})
            if unknown := unknown or sorted({*of_heads} - {*HEADS}):
                raise ValueError(f"unknown {unknown}")
            return cls(
                number_in(whole, "threshold", 0, 1),
                {head: number_in(of_heads, head, LEAST_POSITIVE) for head in of_heads},
                number_in(whole, "shift"),
                whole["fitted_on"],
                number_in(whole, "neither"),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"the judge's calibration is damaged: {error}",
                where=where,
                remedy="Train the judge again, or export it again with `qa export`.",
            ) from error


def calibration_of(location: ModelLocation) -> Calibration:
    """Return what was fitted with a checkpoint; one without a record is not calibrated.

    Raises:
        ModelError: its record is damaged.
    """
    path = location.path / TRAINING
    if not path.is_file():
        return Calibration()
    try:
        record = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(
            f"the checkpoint's record cannot be read: {error}",
            where=str(path),
            remedy="Delete it, or train the judge again.",
        ) from error
    return Calibration.from_manifest(record if isinstance(record, dict) else {}, str(Path(path)))


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a judge says of n texts about a question.

    Args:
        answers: probability that the text answers the question, (n,).
        stance: probabilities of `STANCES`, given that it answers a polar question, (n, 3).
        polarity: probabilities of `POLARITIES`, (n, 4).
        subjective: probability that it is an opinion, (n,).
    """

    answers: FloatArray
    stance: FloatArray
    polarity: FloatArray
    subjective: FloatArray

    def __len__(self) -> int:
        return len(self.answers)

    @classmethod
    def of_logits(cls, logits: FloatArray, calibration: Calibration | None = None) -> Self:
        """Turn logits into probabilities.

        Args:
            logits: in the order of `LOGITS`, (n, 9).
            calibration: what they mean; None: what they say.

        >>> judged = Judgements.of_logits(np.zeros((1, len(LOGITS)), np.float32))
        >>> judged.answers.tolist(), judged.polarity.tolist()
        ([0.5], [[0.25, 0.25, 0.25, 0.25]])
        """
        known = calibration or Calibration()
        found: dict[str, FloatArray] = {}
        start = 0
        for name, classes in HEADS.items():
            part = logits[:, start : start + len(classes)].astype(np.float64)
            start += len(classes)
            if name == "answers":
                part -= known.shift
            if name == "polarity":
                part[:, POLARITIES.index("neither")] -= known.neither
            part /= known.temperatures.get(name, 1.0)
            if len(classes) == 1:
                # A yes or no is a choice between its logit and 0.
                part = np.concatenate([part, np.zeros_like(part)], axis=1)
            powers = np.exp(part - part.max(axis=1, keepdims=True))
            shares = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
            found[name] = shares[:, 0] if len(classes) == 1 else shares
        return cls(**found)
