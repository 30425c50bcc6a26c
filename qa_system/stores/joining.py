"""Reviews of version 0.1, which kept a long one as documents of its passages, made whole again.

Such a passage is called REVIEW#NUMBER, and its metadata says which review it is of, where it
begins in it, and by its content hash where it ends. What lies between two passages, before the
first and after the last can only be white space, and is not kept anywhere: the review's own hash
tells whether it was guessed right.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from typing import Any, Final

from haystack.dataclasses import Document

from qa_system.records import Review
from qa_system.texts.passages import hash_of

__all__ = ["Joined", "is_passage", "join", "tell"]

log = logging.getLogger(__name__)

OWN: Final = ("review_id", "item_id", "content_hash", "passage_start")
BLANKS: Final = (" ", "\n", "\t", "\u00a0")
ENDS: Final = ("", " ", "\n", "\r\n", "  ", "\n\n")
MOST_GUESSES: Final = 250


@dataclass(frozen=True, slots=True)
class Joined:
    """A review, made whole.

    Args:
        document: the review; without an embedding.
        spans: its passages, in the order of those that it was joined from.
        is_exact: whether every character is known to be the review's. If not, its content hash
            fits no review, so that the next job that reads it writes it anew.
    """

    document: Document
    spans: tuple[tuple[int, int], ...]
    is_exact: bool


def is_passage(document: Document) -> bool:
    """Whether version 0.1 wrote this document as a passage of a review.

    >>> meta = {"review_id": "r", "passage_start": 9, "content_hash": "0f:9-14"}
    >>> is_passage(Document(id="r#1", content="Good.", meta=meta))
    True
    >>> is_passage(Document(id="r#1", content="Good.", meta={"review_id": "r#1"}))
    False
    """
    meta, start = document.meta, document.meta.get("passage_start")
    name, _, number = document.id.rpartition("#")
    if type(start) is not int or document.content is None or not number.isdecimal():
        return False
    end = f":{start}-{start + len(document.content)}"
    return meta.get("review_id") == name and str(meta.get("content_hash")).endswith(end)


def join(passages: Sequence[Document]) -> Joined:
    """Make a review of its passages.

    Args:
        passages: for each of which `is_passage`; of one review, ascending by where they begin.

    >>> meta = {"review_id": "r", "item_id": "i"}
    >>> first = Document(id="r#0", content="Is", meta=meta | {"passage_start": 0})
    >>> last = Document(id="r#1", content="good.", meta=meta | {"passage_start": 3})
    >>> for each in (first, last):
    ...     start = each.meta["passage_start"]
    ...     each.meta["content_hash"] = f"0f:{start}-{start + len(each.content)}"
    >>> join([first, last]).document.content, join([first, last]).is_exact
    ('Is good.', False)
    """
    first = passages[0]
    spans = tuple(
        (each.meta["passage_start"], each.meta["passage_start"] + len(each.content or ""))
        for each in passages
    )
    known: list[str | None] = [None] * max(end for _, end in spans)
    for (start, end), each in zip(spans, passages, strict=True):
        known[start:end] = each.content or ""
    # A filter of 0.1 could change the metadata of some passages: nothing of it is dropped.
    merged = {key: value for each in reversed(passages) for key, value in each.meta.items()}
    meta = {key: value for key, value in merged.items() if key not in OWN}
    content_hash = first.meta["content_hash"].rpartition(":")[0]
    review = Review(first.meta["review_id"], first.meta["item_id"], "", meta)
    guesses = (replace(review, text=text) for text in islice(_texts(known), MOST_GUESSES))
    exact = next((guess for guess in guesses if guess.content_hash == content_hash), None)
    found = replace(review, text=next(_texts(known))) if exact is None else exact
    own: dict[str, Any] = {
        "review_id": review.id,
        "item_id": review.item_id,
        "content_hash": f"{content_hash}:joined" if exact is None else hash_of(content_hash, spans),
    }
    return Joined(
        Document(id=review.id, content=found.text, meta=meta | own), spans, exact is not None
    )


def tell(format_: int, joined: int, guessed: int) -> None:
    """Log what became of a store of version 0.1.

    Args:
        format_: that the store has now.
        joined: reviews that were made whole.
        guessed: those of them that are not exact.
    """
    log.info(
        "the store was made by version 0.1, and is of format %d now; %d reviews that were kept as "
        "passages are whole again",
        format_,
        joined,
    )
    if guessed:
        log.warning(
            "of %d reviews not every character was kept by version 0.1: what is missing is blank. "
            "Index their source again, to have them as they are there: qa-index run",
            guessed,
        )


def _texts(known: Sequence[str | None]) -> Iterator[str]:
    """Fill what is not known with white space, the likeliest first."""
    chars = list(known)
    blanks = [place for place, char in enumerate(chars) if char is None]
    alike = ((fill,) * len(blanks) for fill in BLANKS)
    for fills in chain(alike, product(BLANKS[:2], repeat=len(blanks))):
        for place, fill in zip(blanks, fills, strict=True):
            chars[place] = fill
        text = "".join(char or " " for char in chars)
        for end in ENDS:
            yield text + end
