"""The analysis of texts and questions: words, in lower case, stemmed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from qa_system.stores.function_words import FUNCTION_WORDS

if TYPE_CHECKING:
    from tantivy import TextAnalyzer

__all__ = ["ANALYZER", "analyze", "analyzer", "function_terms"]

ANALYZER: Final = "english-1"
"""Names the analysis in the stamp: an index made by another is built anew."""
LONGEST_TERM: Final = 255


@cache
def analyzer() -> TextAnalyzer:
    """Return the analyzer that `ANALYZER` names."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(LONGEST_TERM))
        .filter(Filter.lowercase())
        .filter(Filter.stemmer("english"))
        .build()
    )


def analyze(text: str) -> list[str]:
    """Return the terms that a text is indexed and asked by.

    >>> analyze("The batteries' runtime isn't great!")
    ['the', 'batteri', 'runtim', 'isn', 't', 'great']
    """
    terms: list[str] = analyzer().analyze(text)
    return terms


@cache
def function_terms() -> frozenset[str]:
    """Return the terms of function words."""
    return frozenset(analyze(" ".join(FUNCTION_WORDS)))
