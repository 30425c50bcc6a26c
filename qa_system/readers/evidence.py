"""Which stretches of reviews a reader reads: the best sentences with their neighbours, to a budget.

The time of reading is proportional to the tokens of all windows, so these are what is bounded:
those of the question, which each window repeats, and of the stretch that the window holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Final

from haystack import Document

from qa_system.readers.windows import Room, Window, WindowCutter
from qa_system.ties import tie_breaker

__all__ = ["Candidate", "Stretch", "candidates_of", "choose", "has_sentences", "windows_of"]


ENTRY: Final = 5
"""Numbers of a sentence in `meta["sentences"]`."""


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Characters of a review that are read together, `content[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may be read.

    Args:
        document: its place among a question's documents.
        score: how well it fits the question.
        sentence: its characters.
        around: from the beginning of the sentence before to the end of the one after.
    """

    document: int
    score: float
    sentence: Stretch
    around: Stretch


def windows_of(
    cutter: WindowCutter,
    questions: Sequence[str],
    documents: Sequence[Sequence[Document]],
    budget: int | None,
) -> list[list[list[Window]]]:
    """Cut what is read for some questions; offsets are those of the whole documents.

    Args:
        cutter: cuts texts into windows.
        questions: what is asked.
        documents: of each question. Of those with sentences (see `candidates_of`) what the budget
            takes is read, the others are read whole.
        budget: tokens for all of a question's documents with sentences; None: every document is
            read whole.

    Returns:
        For each question, for each of its documents, the windows in reading order; a document of
        which nothing is read has none.

    Raises:
        QuestionTooLongError: a question leaves too little room for a review.
    """
    chosen = [
        _stretches(cutter, question, each, budget)
        for question, each in zip(questions, documents, strict=True)
    ]
    texts = [
        [
            (document.content or "")[one.start : one.end]
            for document, own in zip(each, stretches, strict=True)
            for one in own
        ]
        for each, stretches in zip(documents, chosen, strict=True)
    ]
    return [
        [[window.moved(one.start) for one in own for window in next(windows)] for own in stretches]
        for stretches, windows in zip(chosen, map(iter, cutter.cut(questions, texts)), strict=True)
    ]


def _stretches(
    cutter: WindowCutter, question: str, documents: Sequence[Document], budget: int | None
) -> list[list[Stretch]]:
    """Return what is read of each document."""
    contents = [document.content or "" for document in documents]
    whole = [[Stretch(0, len(content))] for content in contents]
    candidates = [] if budget is None else candidates_of(documents)
    if budget is None or not candidates:
        return whole
    room = cutter.room_beside(question)
    chosen = choose(candidates, contents, cutter.token_ends, room, budget)
    divided = {each.document for each in candidates}
    return [chosen[place] if place in divided else each for place, each in enumerate(whole)]


def candidates_of(documents: Sequence[Document]) -> list[Candidate]:
    """Return the sentences that a `SentenceRetriever` found in documents, best first.

    Of equal scores the order depends on nothing but ids and places in the text.

    Args:
        documents: with `meta["sentences"]`, a list of `[start, end, score, before, after]`; in a
            document that has none, or something else by that name, there is no candidate.
    """
    found = [each for place, one in enumerate(documents) for each in _candidates(place, one)]
    keys = {each.document: tie_breaker(documents[each.document].id) for each in found}
    return sorted(found, key=lambda each: (-each.score, keys[each.document], each.sentence))


def has_sentences(document: Document) -> bool:
    """Tell whether a document has sentences, so that the budget says what of it is read.

    >>> has_sentences(Document(content="It is red.", meta={"sentences": [[0, 10, 0.5, 0, 10]]}))
    True
    """
    return any(_candidates(0, document))


def _candidates(place: int, document: Document) -> Iterator[Candidate]:
    listed, length = document.meta.get("sentences"), len(document.content or "")
    for entry in listed if isinstance(listed, list | tuple) else ():
        is_of_numbers = isinstance(entry, list | tuple) and all(isinstance(x, Real) for x in entry)
        if not is_of_numbers or len(entry) != ENTRY or not all(map(isfinite, entry)):
            continue
        start, end, before, after = map(int, (*entry[:2], *entry[3:]))
        if 0 <= before <= start < end <= after <= length:
            yield Candidate(place, float(entry[2]), Stretch(start, end), Stretch(before, after))


def choose(
    candidates: Sequence[Candidate],
    contents: Sequence[str],
    token_ends: Callable[[str], Sequence[int]],
    room: Room,
    budget: int,
) -> list[list[Stretch]]:
    """Return the stretches of each document that the budget takes, in the document's order.

    Candidates are taken in order; those between which there is only white space become one
    stretch. The first is taken whatever it costs, and the first that does not fit ends the choice,
    so that a larger budget reads all that a smaller one does. Texts are divided into tokens near
    candidates only, however long they are.

    Args:
        candidates: best first.
        contents: the documents' texts.
        token_ends: returns the character after each token of a text.
        room: what a window has room for. Of a candidate that does not fit in one, the sentence
            alone is taken; of a longer sentence, its beginning.
        budget: tokens of all windows.

    >>> ends = lambda text: [n for n in range(1, len(text) + 1) if text[n : n + 1] in ("", " ")]
    >>> room = Room(overhead=3, context=9, step=9)
    >>> low, high, far = Stretch(0, 7), Stretch(8, 15), Stretch(20, 23)
    >>> found = [Candidate(0, 0.9, low, low), Candidate(0, 0.8, high, high)]
    >>> found += [Candidate(0, 0.7, far, far)]
    >>> choose(found, ["One two six ten and two"], ends, room, budget=10)
    [[Stretch(start=0, end=15)]]
    >>> choose(found, ["One two six ten and two"], ends, room, budget=11)
    [[Stretch(start=0, end=15), Stretch(start=20, end=23)]]
    """
    taken: list[dict[Stretch, int]] = [{} for _ in contents]
    spent = 0
    for each in candidates:
        content, own = contents[each.document], taken[each.document]
        added = _fitting(each, content, token_ends, room.context)
        joined = sorted(one for one in own if _touch(one, added, content))
        grown = Stretch(min([added, *joined]).start, max(one.end for one in [added, *joined]))
        begins = [grown.start, *(one.end for one in joined)]
        ends = [*(one.start for one in joined), grown.end]
        tokens = sum(own[one] for one in joined)
        tokens += sum(
            len(token_ends(content[start:end])) for start, end in zip(begins, ends, strict=True)
        )
        total = spent - sum(room.cost(own[one]) for one in joined) + room.cost(tokens)
        if spent and total > budget:
            break
        for one in joined:
            del own[one]
        own[grown], spent = tokens, total
    return [sorted(own) for own in taken]


def _fitting(
    candidate: Candidate, content: str, token_ends: Callable[[str], Sequence[int]], most: int
) -> Stretch:
    """Return as much of a candidate as a window holds."""
    around = candidate.around
    if len(token_ends(content[around.start : around.end])) <= most:
        return around
    start, end = candidate.sentence.start, candidate.sentence.end
    while len(ends := token_ends(content[start:end])) > most:
        end = min(start + ends[most - 1], end - 1)
    return Stretch(start, end)


def _touch(one: Stretch, other: Stretch, content: str) -> bool:
    """Tell whether two stretches overlap, or nothing but white space is between them."""
    first, second = sorted((one, other))
    return not content[first.end : second.start].strip()
