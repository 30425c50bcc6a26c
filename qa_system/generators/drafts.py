"""Generated answers, compared with their reviews, and withheld where these do not support them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from haystack import Document

from qa_system.generators.grounding import Support, support
from qa_system.generators.rag import Generated
from qa_system.metrics import normalize_answer

__all__ = ["Draft", "drafts"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A generated answer, and whether it is shown.

    Args:
        generated: the answer.
        documents: those with a share in it (for a chat model: those that it cites), in input
            order.
        shares: p(z|x,y) of each of them.
        support: how far these documents say it; `support.document` is an index into them.
        withheld: whether the support is too low to show it.
    """

    generated: Generated
    documents: tuple[Document, ...]
    shares: tuple[float, ...]
    support: Support
    withheld: bool


def drafts(
    answers: Sequence[Generated],
    documents: Sequence[Document],
    spans: Sequence[str] | None,
    min_support: float,
) -> tuple[Draft, ...]:
    """Compare the answers to one question with the documents that they were written from.

    Args:
        answers: best first. Answers that differ only in case, articles and punctuation count
            once; answers without words are left out.
        documents: the generator's input.
        spans: see `grounding.support`.
        min_support: an answer with less support is withheld.

    >>> review = Document(id="r1", content="The battery lasts ten hours.")
    >>> answers = [Generated(text, -1.0, -1.0, (1.0,)) for text in ("a week", "ten hours")]
    >>> [draft.withheld for draft in drafts(answers, [review], None, 0.5)]
    [True, False]
    """
    different: dict[str, Generated] = {}
    for answer in answers:
        if plain := normalize_answer(answer.text):
            different.setdefault(plain, answer)
    return tuple(_draft(each, documents, spans, min_support) for each in different.values())


def _draft(
    answer: Generated,
    documents: Sequence[Document],
    spans: Sequence[str] | None,
    min_support: float,
) -> Draft:
    carried = [
        (document, share)
        for document, share in zip(documents, answer.posterior, strict=True)
        if share > 0
    ]
    shares = tuple(share for _, share in carried)
    found = support(answer.text, [each.content or "" for each, _ in carried], spans, shares)
    return Draft(
        generated=answer,
        documents=tuple(document for document, _ in carried),
        shares=shares,
        support=found,
        withheld=found.score < min_support,
    )
