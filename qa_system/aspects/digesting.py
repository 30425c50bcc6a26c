"""An item's reviews, digested: its most mentioned aspects, with what speaks for and against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from haystack import Document

from qa_system.arguments import checked
from qa_system.aspects.finding import Embed, Found, find_aspects
from qa_system.aspects.mentions import clauses_naming
from qa_system.aspects.phrases import Catalogue
from qa_system.aspects.words import is_content, words
from qa_system.consensus.duplicates import duplicates_of
from qa_system.consensus.mentions import Mention, best_of_reviews, judged_mentions, merged
from qa_system.consensus.quotes import meta_of, quote_of, review_of
from qa_system.consensus.weighing import Leaning
from qa_system.digests.records import MOST_QUOTES, Aspect, Digest
from qa_system.digests.versions import version_of
from qa_system.judging import Judge
from qa_system.opinions import Polarity
from qa_system.ties import tie_breaker

__all__ = ["MIN_REVIEWS", "Digester", "names_of"]

MIN_REVIEWS: Final = 3
ASPECTS: Final = 10
CANDIDATES: Final = 24
"""Aspects that are judged; those that nobody has an opinion of are left out."""
QUESTION: Final = "How is the {label}?"
LONGEST_NAME: Final = 200
_SHOWN: Final[Sequence[Sequence[Polarity]]] = (["for"], ["against"], ["mixed", "neither"])


@checked
class Digester:
    """Make digests of items.

    Args:
        judge: says what a clause says of an aspect.
        embed: returns an embedding of each of some phrases, by which those that mean the same are
            found; None: phrases are compared by their words' stems alone.
        catalogue: how the reviews of the store use words.
        min_reviews: of an item with fewer reviews, copies left out, the digest has no aspects.
        snippet_chars: characters of the review to show around a quote.
    """

    def __init__(
        self,
        judge: Judge,
        embed: Embed | None,
        catalogue: Catalogue,
        *,
        min_reviews: int = MIN_REVIEWS,
        snippet_chars: int = 160,
    ) -> None:
        self._judge = judge
        self._embed = embed
        self._catalogue = catalogue
        self._min_reviews = min_reviews
        self._snippet_chars = snippet_chars

    def digest(self, item_id: str, documents: Sequence[Document], generation: int | None) -> Digest:
        """Make the digest of an item; the order of its reviews changes nothing.

        Args:
            item_id: the item.
            documents: all of its reviews.
            generation: of the store, no later than that of the documents.

        Raises:
            InvalidArgumentError: a document has text that UTF-8 cannot hold.
            ModelError: the judge cannot be loaded, or computes NaN or infinity.
        """
        ordered = sorted(documents, key=lambda each: tie_breaker(each.id))
        originals = duplicates_of([each.content or "" for each in ordered])
        distinct = [each for at, each in enumerate(ordered) if originals[at] == at]
        aspects: list[Aspect] = []
        if len(distinct) >= self._min_reviews:
            aspects = self._aspects(distinct)
        return Digest(
            item_id,
            len(documents),
            generation,
            tuple(aspects),
            {
                review_of(each): version_of(each.meta.get("content_hash"), each.content)
                for each in ordered
            },
            len(ordered) - len(distinct),
        )

    def _aspects(self, documents: Sequence[Document]) -> list[Aspect]:
        texts = [each.content or "" for each in documents]
        found = find_aspects(
            texts, self._catalogue, self._embed, CANDIDATES, names=names_of(documents)
        )
        named = clauses_naming(found, documents)
        judged = self._judge.judge(
            [QUESTION.format(label=each.label) for each in found],
            [[clause.text for clause in each] for each in named],
        )
        said = [
            merged(best, [texts[mention.document] for mention in best])
            for clauses, each in zip(named, judged, strict=True)
            for best in [
                best_of_reviews(judged_mentions(clauses, each, statement=None, leaning=Leaning()))
            ]
        ]
        pairs = [pair for pair in zip(found, said, strict=True) if _opinions(pair[1])]
        pairs.sort(key=lambda pair: (-_worth(*pair), pair[0].label))
        chosen = pairs[:ASPECTS]
        chosen.sort(key=lambda pair: (-len(pair[1]), -_opinions(pair[1]), pair[0].label))
        return [self._aspect(aspect, mentions, documents) for aspect, mentions in chosen]

    def _aspect(
        self, found: Found, mentions: Sequence[Mention], documents: Sequence[Document]
    ) -> Aspect:
        groups = [[each for each in mentions if each.polarity in kind] for kind in _SHOWN]
        for group in groups:
            group.sort(key=lambda each: (-each.confidence, tie_breaker(each.review_id)))
        return Aspect(
            label=found.label,
            for_=len(groups[0]),
            against=len(groups[1]),
            support=len(mentions),
            share=len(mentions) / len(documents),
            quotes=tuple(
                quote_of(mention, documents[mention.document], self._snippet_chars)
                for group in groups
                for mention in group[:MOST_QUOTES]
            ),
        )


def _worth(found: Found, mentions: Sequence[Mention]) -> float:
    """Return how good an aspect is: what reviews have opinions of counts up to twice."""
    return found.score * (1 + _opinions(mentions) / len(mentions))


def _opinions(mentions: Sequence[Mention]) -> int:
    return sum(each.polarity != "neither" for each in mentions)


def names_of(documents: Sequence[Document]) -> set[str]:
    """Return the stems of the item's name: the last word of what all reviews' metadata agree on.

    A title such as "Whirlandt 900 W Blender" ends with what the item is.
    """
    shared = meta_of(documents[0])
    for document in documents[1:]:
        shared = {key: each for key, each in shared.items() if document.meta.get(key) == each}
    names = set()
    for value in shared.values():
        if isinstance(value, str) and len(value) <= LONGEST_NAME:
            names.update([word.stem for word in words(value) if is_content(word)][-1:])
    return names
