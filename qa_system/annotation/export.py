"""Labels of annotators as files: SQuAD 2.0, or JSON Lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qa_system.annotation.marks import is_annotated
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.squad import write_squad
from qa_system.errors import ConfigError, DataError

if TYPE_CHECKING:
    from qa_system.records import Label
    from qa_system.stores.contract import ReviewStore

__all__ = ["check_suffix", "export"]

WRITERS = {".json": write_squad, ".jsonl": write_labels_jsonl}


def export(store: ReviewStore, path: Path) -> tuple[int, int]:
    """Write what annotators have said, one label for each question and review.

    Args:
        store: has the labels.
        path: `.json`: SQuAD 2.0; `.jsonl`: labels of one's own. It is replaced in one step.

    Returns:
        How many labels were written, and how many were left out, because their review has
        changed since.

    Raises:
        ConfigError: the file has another suffix.
        DataError: there are no such labels, or the file cannot be written.
    """
    check_suffix(path)
    found = list(filter(is_annotated, store.get_labels_aggregated(by_item=False)))
    if not found:
        raise DataError(
            "nobody has annotated reviews here yet",
            where=str(path),
            remedy="Mark some: qa annotate --questions FILE.",
        )
    newest: dict[str, Label] = {}
    for label in found:
        known = newest.setdefault(label.review_id, label)
        if max(label.meta["at"]) > max(known.meta["at"]):
            newest[label.review_id] = label
    chosen = [label for label in found if newest[label.review_id].context == label.context]
    WRITERS[path.suffix](chosen, path)
    return len(chosen), len(found) - len(chosen)


def check_suffix(path: Path) -> None:
    """Refuse a file whose name does not say its format.

    Raises:
        ConfigError: naming the formats.
    """
    if path.suffix not in WRITERS:
        raise ConfigError(
            "the format of the labels is not clear",
            where=str(path),
            remedy="Name it .json (SQuAD 2.0) or .jsonl (JSON Lines).",
        )
