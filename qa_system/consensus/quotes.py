"""Quotes: the words of a review that are shown for a mention, and what is told of the review."""

from __future__ import annotations

from typing import Any, Final

from haystack import Document

from qa_system.consensus.mentions import Mention
from qa_system.opinions import Quote
from qa_system.readers.extractive import snippet
from qa_system.records import title_end
from qa_system.stores.joining import is_passage

__all__ = ["meta_of", "offset_of", "quote_of", "review_of"]

STORE_FIELDS: Final = frozenset(
    {"review_id", "item_id", "content_hash", "passage_start", "passage_end", "sentences"}
)
"""What a store keeps in the metadata, and nobody asked for."""


def quote_of(mention: Mention, document: Document, snippet_chars: int) -> Quote:
    """Return the quote of a mention.

    Args:
        mention: of the document.
        document: the review, or a passage of it in a store of version 0.1.
        snippet_chars: characters of the review to show around it.
    """
    content = document.content or ""
    around, _ = snippet(content, mention.start, mention.end, snippet_chars)
    return Quote(
        review_id=mention.review_id,
        field="title" if mention.start < title_end(content, document.meta) else "text",
        text=mention.text,
        start=offset_of(document) + mention.start,
        end=offset_of(document) + mention.end,
        snippet=around,
        meta=meta_of(document),
    )


def review_of(document: Document) -> str:
    """Return the id of the review that a document is, or is a passage of."""
    return str(document.meta.get("review_id", document.id))


def offset_of(document: Document) -> int:
    """Return where the document begins in its review; it is 0 except in a store of version 0.1."""
    start: int = document.meta["passage_start"] if is_passage(document) else 0
    return start


def meta_of(document: Document) -> dict[str, Any]:
    """Return the review's metadata, without what the store keeps there for itself."""
    return {key: value for key, value in document.meta.items() if key not in STORE_FIELDS}
