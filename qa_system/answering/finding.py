"""What is found for a question: the documents to read, and how many reviews there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haystack.core.errors import PipelineRuntimeError

from qa_system.answering.asking import filters_of, refuse_unaskable
from qa_system.errors import QASystemError, UnknownItemError
from qa_system.records import Question

if TYPE_CHECKING:
    from haystack import Document, Pipeline

    from qa_system.stores.contract import ReviewStore

__all__ = ["Finder", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a question.

    Args:
        documents: to be read, best first.
        scored: those of the dense retriever, with similarities as their scores.
        considered: reviews with a sentence that bears on the question; where reviews are
            retrieved whole, the documents.
        reviews: how many the item and the filters select.
        generation: the embedded store's, where its sentences were searched; None: not known.
    """

    documents: list[Document]
    scored: list[Document]
    considered: int
    reviews: int
    generation: int | None = None


class Finder:
    """Finds what a question is answered from.

    Args:
        store: is asked about items.
        pipeline: takes `query` and `filters`.
        last: the component that returns `documents`.
        scorer: the component whose documents have similarities as their scores; None: none.
        place: the store's, for errors.
    """

    def __init__(
        self, store: ReviewStore, pipeline: Pipeline, last: str, scorer: str | None, place: str
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._last = last
        self._scorer = scorer
        self._place = place

    def warm_up(self) -> None:
        """Load the models."""
        self._pipeline.warm_up()

    def find(self, question: Question, *, scored: bool) -> Found:
        """Find the documents for one question.

        Args:
            question: as it came.
            scored: also return what the scorer found.

        Raises:
            QASystemError: the question cannot be asked, or nothing is known of its item.
        """
        refuse_unaskable(question)
        inputs = {"query": question.text, "filters": filters_of(question)}
        scorer = self._scorer if scored else None
        also = set() if scorer is None else {scorer}
        try:
            found = self._pipeline.run(inputs, include_outputs_from=also)
        except PipelineRuntimeError as error:
            # Haystack wraps a component's errors; ours are for the caller.
            if isinstance(error.__cause__, QASystemError):
                raise error.__cause__ from None
            raise
        last: Mapping[str, Any] = found[self._last]
        documents: list[Document] = last["documents"]
        if not documents and question.item_id is not None:
            refuse_unknown(self._store, question.item_id, self._place)
        return Found(
            documents,
            [] if scorer is None else found[scorer]["documents"],
            considered=last.get("considered", len(documents)),
            reviews=last["reviews"] if "reviews" in last else self._count(inputs["filters"]),
            generation=last.get("generation"),
        )

    def _count(self, filters: Any) -> int:
        if filters is None:
            return self._store.count_documents()
        return self._store.count_documents_by_filter(filters)


def refuse_unknown(store: ReviewStore, item_id: str, place: str) -> None:
    """Refuse an item that a store has no review of.

    Args:
        store: the store.
        item_id: the item.
        place: the store's, for the error.

    Raises:
        UnknownItemError: the remedy names one whose id differs in spaces only.
    """
    if not store.has_item(item_id):
        remedy = "Check the item's id, or index its reviews with `qa-index run`."
        if item_id != item_id.strip() and store.has_item(item_id.strip()):
            remedy = f"Ids are compared with their spaces: there is an item {item_id.strip()!r}."
        raise UnknownItemError(
            f"the store has no review of item {item_id!r}", where=place, remedy=remedy
        )
