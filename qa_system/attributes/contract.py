"""A promised error: from which confidence on a value is given, fitted on labelled values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from qa_system.consensus.max_error import lowest_error, threshold_for
from qa_system.errors import ConfigError, ModelError

__all__ = ["Contract", "read_contract"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Contract:
    """How sure values were that were compared with labels, and whether they were right.

    Args:
        made_of: digest of the attributes, the settings and the models.
        fitted_on: the labels.
        outcomes: of each value that was given: its confidence, and whether it is right.

    >>> Contract("0", "labels", ((0.9, True),) * 40 + ((0.2, False),) * 40).threshold(0.1)
    0.9
    """

    made_of: str
    fitted_on: str
    outcomes: tuple[tuple[float, bool], ...]

    def threshold(self, max_error: float) -> float:
        """Return the confidence from which on no more values are wrong than promised.

        The promise holds with a confidence of 95 %, for items and attributes such as the labelled
        ones (`qa_system.consensus.max_error`).

        Args:
            max_error: the share of the values given that may be wrong, between 0 and 1.

        Raises:
            ConfigError: no threshold keeps it.
        """
        found = threshold_for(self.outcomes, max_error)
        if found is None:
            lowest = lowest_error(self.outcomes)
            raise ConfigError(
                f"no threshold keeps the error at {max_error:g} with 95 % confidence"
                + ("" if lowest is None else f"; the lowest error that one keeps is {lowest:g}"),
                where=self.fitted_on,
                remedy="Fit on more labels (qa-eval attributes --write FILE)"
                + ("." if lowest is None else f", or promise an error of {lowest:g}."),
            )
        return found

    def write(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            path.write_bytes(orjson.dumps({"format": FORMAT, **asdict(self)}) + b"\n")
        except OSError as error:
            raise ConfigError(
                f"what was fitted cannot be written: {error.strerror}",
                where=str(path),
                remedy="Name another file, in a folder that can be written.",
            ) from error


def read_contract(path: Path, made_of: str) -> Contract:
    """Read what `qa-eval attributes --write` wrote.

    Args:
        path: of the file.
        made_of: the digest that it has to have been fitted with.

    Raises:
        ConfigError: it was fitted with other attributes, settings or models.
        ModelError: it is missing or damaged.
    """
    try:
        tree = orjson.loads(path.read_bytes())
        if tree["format"] != FORMAT:
            raise ValueError(f"format is {tree['format']!r}, not {FORMAT}")
        outcomes = tuple((float(score), bool(right)) for score, right in tree["outcomes"])
        found = Contract(str(tree["made_of"]), str(tree["fitted_on"]), outcomes)
        if not all(0 <= score <= 1 for score, _ in outcomes):
            raise ValueError("a confidence is not between 0 and 1")
    except (OSError, KeyError, TypeError, ValueError) as error:
        told = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ModelError(
            f"the fitted confidences cannot be read: {told}",
            where=str(path),
            remedy="Fit them: qa-eval attributes --write FILE.",
        ) from error
    if found.made_of != made_of:
        raise ConfigError(
            "it was fitted with other attributes, settings or models",
            where=str(path),
            remedy="Fit it again: qa-eval attributes --write FILE.",
        )
    return found
