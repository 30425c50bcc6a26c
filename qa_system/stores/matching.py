"""Which passage of a review shares most with a question's words."""

from __future__ import annotations

import math
from collections import Counter

from qa_system.stores.analysis import analyze, function_terms
from qa_system.stores.function_words import FUNCTION_WORD_WEIGHT
from qa_system.texts.passages import Spans

__all__ = ["best_passage"]


def best_passage(question: str, text: str, spans: Spans) -> int:
    """Return the number of the passage that shares most words with a question.

    Words are scored as BM25 finds reviews by: stemmed, function words a tenth, a word that few
    of the passages have more than one that many have (log(1 + passages / passages with it)).

    Args:
        question: in anybody's words.
        text: the whole review.
        spans: its passages.

    Returns:
        Of equal passages the first; 0 where none shares a word.

    >>> best_passage("Is it bright?", "It is cheap. It is bright!", [(0, 12), (13, 26)])
    1
    """
    asked = set(analyze(question))
    shared = [asked.intersection(analyze(text[start:end])) for start, end in spans]
    frequency = Counter(term for terms in shared for term in terms)
    weights = {
        term: math.log(1 + len(spans) / having)
        * (FUNCTION_WORD_WEIGHT if term in function_terms() else 1.0)
        for term, having in frequency.items()
    }
    # Sorted, for a sum of floats depends on its order, and that of a set on the process.
    scores = [sum(weights[term] for term in sorted(terms)) for terms in shared]
    return max(range(len(spans)), key=scores.__getitem__)
