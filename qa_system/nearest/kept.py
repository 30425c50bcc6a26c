"""Labelled questions with their embeddings: on disk as JSON and safetensors, checked by hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.errors import ConfigError, ModelError
from qa_system.nearest.examples import ANSWER, Example
from qa_system.nearest.search import Nearest
from qa_system.nearest.votes import Chosen, Neighbour

__all__ = ["EncodedBy", "Labelled", "load", "save"]

FORMAT: Final = 1
LABELS, VECTORS, TENSOR = "nearest.json", "vectors.safetensors", "questions"


@dataclass(frozen=True, slots=True)
class EncodedBy:
    """The encoder of the questions.

    Args:
        model: its name: `bundled:NAME`, a folder or a Hub id.
        question_model: that of the questions, if it is one of its own.
        hash: of its weights and settings.
    """

    model: str
    question_model: str | None
    hash: str


@dataclass(frozen=True)
class Labelled:
    """Labelled questions, their embeddings, and how labels are decided.

    Args:
        field: what the labels are: `answer`, or a field of the data set.
        examples: the questions, each with its labels.
        vectors: their embeddings, of length 1, (n, dimension), float32.
        encoder: made them.
        chosen: k and the threshold.
    """

    field: str
    examples: tuple[Example, ...]
    vectors: NDArray[np.float32]
    encoder: EncodedBy
    chosen: Chosen

    @property
    def single(self) -> bool:
        """Whether a question gets one label at most."""
        return self.field == ANSWER or all(len(each.labels) <= 1 for each in self.examples)

    @cached_property
    def _index(self) -> Nearest:
        return Nearest(self.vectors, [each.item_id for each in self.examples])

    def neighbours(
        self,
        vectors: NDArray[np.float32],
        k: int,
        item_ids: Sequence[str | None] | None = None,
    ) -> list[list[Neighbour]]:
        """Return the k nearest questions of each embedding, the most similar first.

        Args:
            vectors: (m, dimension).
            k: how many, from 1.
            item_ids: of answers, the item of each question: only questions about it are looked
                at, and all for None.
        """
        groups = item_ids if self.field == ANSWER else None
        rows, similarities = self._index.search(vectors, k, groups)
        return [
            [
                Neighbour(int(row), self.examples[row].text, self.examples[row].labels, float(one))
                for row, one in zip(own, alike, strict=True)
            ]
            for own, alike in zip(rows, similarities, strict=True)
        ]


def save(labelled: Labelled, folder: Path) -> None:
    """Write `nearest.json` and `vectors.safetensors` into a folder.

    The JSON, which has the hash of the vectors, is replaced last: a run that is killed leaves the
    former pair, or one that `load` refuses.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from safetensors.numpy import save as packed

    vectors = packed({TENSOR: labelled.vectors})
    rows = [asdict(each) for each in labelled.examples]
    tree = {
        "format": FORMAT,
        "field": labelled.field,
        "encoder": asdict(labelled.encoder),
        "chosen": labelled.chosen.to_dict(),
        "vectors": hashlib.sha256(vectors).hexdigest(),
        "examples": hashlib.sha256(orjson.dumps(rows)).hexdigest(),
        "rows": rows,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((VECTORS, vectors), (LABELS, orjson.dumps(tree) + b"\n")):
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            temporary.write_bytes(content)
            temporary.replace(folder / name)
    except OSError as error:
        raise ConfigError(
            f"the labels cannot be written: {error.strerror}",
            where=str(folder),
            remedy="Name another folder.",
        ) from error


def load(folder: Path) -> Labelled:
    """Read what `save` wrote.

    Raises:
        ModelError: a file is missing or damaged, or is not the one that was written with the other.
    """
    try:
        tree = orjson.loads((folder / LABELS).read_bytes())
        if tree["format"] != FORMAT:
            raise ValueError(f"format is {tree['format']!r}, not {FORMAT}")
        content = (folder / VECTORS).read_bytes()
        if hashlib.sha256(content).hexdigest() != tree["vectors"]:
            raise ValueError(f"{VECTORS} is not the file that was written with {LABELS}")
        if hashlib.sha256(orjson.dumps(tree["rows"])).hexdigest() != tree["examples"]:
            raise ValueError(f"the rows of {LABELS} were changed")
        return _built(tree, content)
    except (OSError, KeyError, TypeError, ValueError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"the labelled questions cannot be read: {told}",
            where=str(folder),
            remedy="Fit them again: qa train nearest.",
        ) from error


def _built(tree: dict[str, Any], content: bytes) -> Labelled:
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpacked

    try:
        vectors = unpacked(content)[TENSOR]
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    examples = tuple(
        Example(str(row["text"]), tuple(map(str, row["labels"])), row["item_id"])
        for row in tree["rows"]
    )
    if vectors.ndim != 2 or len(vectors) != len(examples) or not np.isfinite(vectors).all():
        raise ValueError(f"{VECTORS} has not one finite vector for each row")
    chosen = Chosen(**{each.name: tree["chosen"][each.name] for each in fields(Chosen)})
    if not (isinstance(chosen.k, int) and chosen.k >= 1):
        raise ValueError(f"k is {chosen.k!r}")
    encoder = EncodedBy(**tree["encoder"])
    return Labelled(str(tree["field"]), examples, vectors, encoder, chosen)
