"""The words that most questions have, and how little they count in a search by words."""

from __future__ import annotations

from typing import Final

__all__ = ["FUNCTION_WORDS", "FUNCTION_WORD_WEIGHT"]

_LISTED: Final = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
her hers herself it its itself they them their theirs themselves what which who whom this that
these those am is are was were be been being have has had having do does did doing would should
could ought a an the and but if or because as until while of at by for with about against
between into through during before after above below to from up down in out on off over under
again further then once here there when where why how all any both each few more most other some
such no nor not only own same so than too very can will just don now s t d ll m re ve isn aren
wasn weren hasn haven hadn doesn didn won wouldn shan shouldn couldn mustn
"""
FUNCTION_WORDS: Final = frozenset(_LISTED.split())
"""Snowball's English stop words, and what contractions leave of themselves."""
FUNCTION_WORD_WEIGHT: Final = 0.1
"""Half of a question is function words. Lucene's `english` drops them; a tenth of their score
still decides between reviews that have nothing else in common with the question. Chosen on the
train and dev questions of four SubjQA domains, over the reviews of an item."""
