"""Which questions are asked, which reviews compete to answer them, and a store that holds these."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from qa_system.config import IndexingSettings, Settings
from qa_system.errors import EvaluationError, JobError
from qa_system.records import Label, Review

_log = logging.getLogger(__name__)

__all__ = ["EVERYTHING", "Filters", "Scope", "Selection", "filters_of", "temporary_index"]

Scope = Literal["item-split", "item", "open"]
"""The candidates: the item's reviews that the label's split asks about; all of the item's
reviews; all reviews."""

Filters = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Selection:
    """The questions of an evaluation, and the reviews that compete to answer them.

    Args:
        split: which part of the data set; None: all.
        scope: which reviews are candidates; None: `item` where any question names an item, else
            `open`.
        aggregated: ask the same question about the same item once, and count every review that
            answers it as gold, as the book does; else each pair of question and review is a
            question of its own.
        own_store: search the store that the settings name; else the data set's reviews are put
            into a temporary index.
    """

    split: str | None = None
    scope: Scope | None = None
    aggregated: bool = False
    own_store: bool = False

    def scope_of(self, labels: Iterable[Label]) -> Scope:
        """Return the scope, or the one that these labels allow.

        >>> Selection().scope_of([Label("q", "How is it?", None, "r", "Good.", ())])
        'open'
        """
        if self.scope is not None:
            return self.scope
        return "open" if all(label.item_id is None for label in labels) else "item"


EVERYTHING = Selection()


def filters_of(labels: Sequence[Label], scope: Scope) -> Callable[[Label], Filters]:
    """Return the function that gives the Haystack filter of a label's candidates.

    Args:
        labels: all that are evaluated together: they tell which reviews a split asks about.
        scope: which reviews are candidates.

    Raises:
        EvaluationError: the scope needs items, and a label names none.

    >>> label = Label("q", "How is it?", "B00", "r", "Good.", ())
    >>> filters_of([label], "item")(label)
    {'field': 'meta.item_id', 'operator': '==', 'value': 'B00'}
    """
    if scope == "open":
        return lambda _: None
    nameless = sum(label.item_id is None for label in labels)
    if nameless:
        raise EvaluationError(
            f"scope {scope!r} needs items, and {nameless} labels name none",
            remedy="Let all reviews compete: qa-eval retriever --scope open (pipeline and "
            "generator take it, too).",
        )
    if scope == "item":
        return lambda label: _filter("item_id", "==", label.item_id)
    # A review can belong to several splits: the labels say to which, the store need not know.
    asked: dict[tuple[str | None, str | None], dict[str, None]] = {}
    for label in labels:
        reviews = asked.setdefault((label.split, label.item_id), {})
        reviews.update(dict.fromkeys(each.review_id for each in (label, *label.others)))
    return lambda label: _filter("review_id", "in", list(asked[label.split, label.item_id]))


@contextmanager
def temporary_index(
    reviews: Iterable[Review], settings: Settings, *, embed: bool
) -> Iterator[Settings]:
    """Index reviews by the indexing job, into a store that is deleted afterwards.

    Reviews that the job rejects are left out, and that is logged with an example; the counts of
    an evaluation say how many questions miss their gold review (`gold_missing`).

    Args:
        reviews: distinct by id.
        settings: `encoder`, `store.similarity`, `store.index`, `indexing.passages`,
            `indexing.sentences` and `indexing.batch_size` are used.
        embed: with embeddings; without them the store serves BM25 only.

    Returns:
        The settings, with that store.

    Raises:
        EvaluationError: the job rejects every review.
    """
    from indexing.job import run_job

    with tempfile.TemporaryDirectory(prefix="qa-eval-") as folder:
        source = Path(folder) / "reviews.jsonl"
        rejects = Path(folder) / "rejects.jsonl"
        lines = list(map(_json_line, reviews))
        source.write_bytes(b"".join(lines))
        indexing = IndexingSettings(
            sources=(str(source),),
            format="jsonl",
            batch_size=settings.indexing.batch_size,
            passages=settings.indexing.passages,
            sentences=settings.indexing.sentences,
            embed=embed,
            rejects=str(rejects),
        )
        place = settings.store.in_folder(str(Path(folder) / "store"))
        try:
            run_job(settings.model_copy(update={"store": place, "indexing": indexing}))
        except JobError:
            # It names files of ours, which are gone when the message is read.
            _tell_rejects(rejects, len(lines))
            raise
        _tell_rejects(rejects, len(lines))
        yield settings.model_copy(update={"store": place})


def _tell_rejects(file: Path, read: int) -> None:
    if not file.exists():
        return
    rejects = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    said = rejects[0]
    first = f"{said['review_id'] or said['row']:.60}: {said['reason']}, {said['detail']}"
    if len(rejects) == read:
        raise EvaluationError(
            f"none of the {read} reviews can be indexed, the first being {first}",
            remedy="Mend the texts and ids of the data set's reviews.",
        )
    _log.warning("%d of %d reviews cannot be indexed; the first: %s", len(rejects), read, first)


def _json_line(review: Review) -> bytes:
    row = {**review.meta, "review_id": review.id, "item_id": review.item_id, "text": review.text}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _filter(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"field": f"meta.{field}", "operator": operator, "value": value}
