"""Labels for an adaptation without labels: generated from the reviews that are learnt from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.splitting import write_splits
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.splitting import split_labels
from qa_system.errors import DataError, EvaluationError
from qa_system.records import Label

if TYPE_CHECKING:
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.training.recipes import Adaptation

__all__ = ["FILE", "Generation", "generated_labels"]

FILE = "questions.jsonl"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """Where generated labels come from.

    Args:
        reader: has to find the answers of what the rules ask again.
        file: what `qa questions` wrote, instead; None: the rules ask.
    """

    reader: ExtractiveReader
    file: Path | None = None


def generated_labels(
    generation: Generation,
    splits: Mapping[str, Sequence[Label]],
    recipe: Adaptation,
    out: Path,
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Generate labels, and divide them into what is learnt from and what is tuned on, by item.

    Of the domain, only the texts of its training split are used that are not in its test split,
    and none of its labels.

    Args:
        generation: where they come from.
        splits: of the domain.
        recipe: its `dev_of_fold` is the share of the items that is tuned on; its seed.
        out: a folder for the labels.

    Returns:
        The files `train` and `dev`, and by split what is told of them: `labels`,
        `answered`, `items`.

    Raises:
        EvaluationError: there are too few labels to divide.
        QASystemError: a file or a model cannot be read.
    """
    fresh = _untested(generation, splits, recipe.seed, out)
    try:
        divided = split_labels(fresh, "item", test=0, dev=recipe.dev_of_fold, seed=recipe.seed)
    except DataError as error:
        raise EvaluationError(
            f"{len(fresh)} generated labels cannot be divided: {error.what}",
            where=str(generation.file or out),
            remedy="Generate more, of more items: qa questions; or set a larger dev_of_fold.",
        ) from error
    parts = {
        split: [label for label in divided if label.split == split] for split in ("train", "dev")
    }
    return write_splits(parts, out), {split: _told(part) for split, part in parts.items()}


def _told(labels: Sequence[Label]) -> dict[str, int]:
    return {
        "labels": len(labels),
        "answered": sum(label.is_answerable for label in labels),
        "items": len({label.item_id for label in labels}),
    }


def _untested(
    generation: Generation, splits: Mapping[str, Sequence[Label]], seed: int, out: Path
) -> list[Label]:
    """Return generated labels, each of an item, about texts that the test split has not."""
    tested = {label.context for label in splits["test"]}
    if generation.file is None:
        texts = [label for label in splits["train"] if label.context not in tested]
        return list(_asked(generation.reader, texts, seed, out))
    found = read_dataset(generation.file).labels
    fresh = [_with_item(label) for label in found if label.context not in tested]
    if len(fresh) < len(found):
        _log.info(
            "%d of %d generated labels are about texts of the test split: not learnt from",
            len(found) - len(fresh),
            len(found),
        )
    return fresh


def _asked(
    reader: ExtractiveReader, labels: Iterable[Label], seed: int, out: Path
) -> Sequence[Label]:
    """Let the rules ask about texts, or take what they asked when the run was stopped."""
    from qa_system.config import EncoderSettings
    from qa_system.retrievers.encoders import shared_encoder
    from qa_system.training.questions.corpus import gathered
    from qa_system.training.questions.generate import Limits, Makers, generate_questions
    from qa_system.training.questions.writers import RulesWriter

    settings = EncoderSettings()
    encoder = shared_encoder(settings)
    texts = ((each.review_id, str(each.item_id), each.context) for each in map(_with_item, labels))
    makers = Makers(
        RulesWriter(Counter(), seed),
        reader,
        lambda phrases: encoder.encode_passages(phrases, [None] * len(phrases)),
        settings.model,
    )
    out.mkdir(parents=True, exist_ok=True)
    generate_questions(gathered("train", texts), makers, out / FILE, Limits(seed=seed))
    return read_dataset(out / FILE).labels


def _with_item(label: Label) -> Label:
    """Return a label of an item; a text without an item is an item of its own."""
    return label if label.item_id is not None else replace(label, item_id=label.review_id)
