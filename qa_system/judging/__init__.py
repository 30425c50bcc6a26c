"""A small model that reads a question and a sentence: does it answer, and what does it say?"""

from __future__ import annotations

from qa_system.judging.judge import Judge
from qa_system.judging.judgements import HEADS, POLARITIES, STANCES, Judgements

__all__ = ["HEADS", "POLARITIES", "STANCES", "Judge", "Judgements"]
