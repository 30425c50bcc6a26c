"""Texts that compete with the one that answers a question: negatives are drawn from them."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from qa_system.labels import is_answered
from qa_system.records import Label

__all__ = ["Asked", "answering_texts", "ranked_by_bm25"]

Asked = tuple[str, str | None]
"""A question, and the item asked about; None: whatever text there is."""


def answering_texts(labels: Iterable[Label]) -> dict[Asked, set[str]]:
    """Return the texts in which an annotator found an answer, by question and item.

    >>> answering_texts([Label("q", "How is it?", None, "r", "Good.", ())])
    {}
    """
    answering: dict[Asked, set[str]] = defaultdict(set)
    for label in labels:
        if is_answered(label):
            answering[label.question, label.item_id].add(label.context)
    return dict(answering)


def ranked_by_bm25(
    texts: Mapping[str, str | None], asked: Iterable[Asked], top_k: int
) -> dict[Asked, list[str]]:
    """Rank texts by the words of questions, as the embedded store ranks them.

    Args:
        texts: each with its item; None: it belongs to none.
        asked: the questions; one that names an item ranks that item's texts alone.
        top_k: texts for each question at most, best first.

    >>> texts = {"The screen is bright.": "B00", "It is heavy.": "B00", "A screen.": "B01"}
    >>> ranked_by_bm25(texts, [("How is the screen?", "B00")], 1)
    {('How is the screen?', 'B00'): ['The screen is bright.']}
    """
    from haystack import Document

    from qa_system.stores.faiss import FAISSDocumentStore

    documents = [
        Document(id=str(place), content=text, meta={"item_id": item_id or ""})
        for place, (text, item_id) in enumerate(texts.items())
    ]
    found: dict[Asked, list[str]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="qa-train-") as folder,
        FAISSDocumentStore(Path(folder) / "texts") as store,
    ):
        store.write_documents(documents)
        for question, item_id in dict.fromkeys(asked):
            within = None
            if item_id is not None:
                within = {"field": "meta.item_id", "operator": "==", "value": item_id}
            ranked = store.search_bm25(question, filters=within, top_k=top_k)
            found[question, item_id] = [document.content or "" for document in ranked]
    return found
