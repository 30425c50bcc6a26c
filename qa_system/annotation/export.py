"""Labels of annotators as files: SQuAD 2.0, or JSON Lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from qa_system.annotation.marks import is_annotated
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.squad import write_squad
from qa_system.errors import ConfigError, DataError

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore

__all__ = ["check_suffix", "export"]

AT_ONCE: Final = 500
WRITERS = {".json": write_squad, ".jsonl": write_labels_jsonl}


def export(store: ReviewStore, path: Path) -> tuple[int, int]:
    """Write what annotators have said, one label for each question and review.

    Args:
        store: has the labels.
        path: `.json`: SQuAD 2.0; `.jsonl`: labels of one's own. It is replaced in one step.

    Returns:
        How many labels were written, and how many were left out, because their review has
        changed or was deleted since.

    Raises:
        ConfigError: the file has another suffix.
        DataError: there are no such labels, or of no review that is still there as it was; or the
            file cannot be written.
    """
    check_suffix(path)
    found = list(filter(is_annotated, store.get_labels_aggregated(by_item=False)))
    if not found:
        raise DataError(
            "nobody has annotated reviews here yet",
            where=str(path),
            remedy="Mark some: qa annotate --questions FILE.",
        )
    texts = _texts(store, {label.review_id for label in found})
    chosen = [label for label in found if (label.review_id, label.context) in texts]
    if not chosen:
        raise DataError(
            f"all {len(found)} labels are of reviews that have changed or were deleted since",
            where=str(path),
            remedy="Mark reviews that are there: qa annotate --questions FILE.",
        )
    WRITERS[path.suffix](chosen, path)
    return len(chosen), len(found) - len(chosen)


def _texts(store: ReviewStore, reviews: set[str]) -> set[tuple[str, str]]:
    """Return what the store has of reviews: ids and texts."""
    ids = sorted(reviews)
    found: set[tuple[str, str]] = set()
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        named = [
            {"field": field, "operator": "in", "value": part} for field in ("meta.review_id", "id")
        ]
        for each in store.filter_documents({"operator": "OR", "conditions": named}):
            found.add((str(each.meta.get("review_id", each.id)), each.content or ""))
    return found


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
