"""Sentences of reviews as evidence: how they are kept, scored and ranked, in either store alike."""

from __future__ import annotations

from qa_system.stores.sentences.columns import SentenceColumns, columns_of, unembedded_columns
from qa_system.stores.sentences.ranking import RankedSentence, SentenceRanking, rank
from qa_system.stores.sentences.scoring import SentenceQuery, score

__all__ = [
    "RankedSentence",
    "SentenceColumns",
    "SentenceQuery",
    "SentenceRanking",
    "columns_of",
    "rank",
    "score",
    "unembedded_columns",
]
