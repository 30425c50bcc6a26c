"""Labels -> what a generator learns from to ask: an answer and its text in, the question out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qa_system.records import Label
from qa_system.texts.sentences import sentences
from qa_system.training.generator.examples import Example

__all__ = ["around", "question_examples"]

MOST_WORDS = 100
"""Of the text around an answer; a question is about what stands near."""


def question_examples(labels: Sequence[Label]) -> tuple[list[Example], Counter[str]]:
    """Return an example for each answer whose place is known: it is asked, the question answers.

    Args:
        labels: of one data set.

    Returns:
        The examples, and counts: `questions`; `unanswerable`, labels that were left out.

    >>> from qa_system.records import AnswerSpan
    >>> span = AnswerSpan("light", 5, 10)
    >>> label = Label("q", "How is it?", None, "r", "Very light.", (span,))
    >>> [example] = question_examples([label])[0]
    >>> example.question, example.texts, example.answers
    ('light', ('Very light.',), (('How is it?', 1.0),))
    """
    examples = [
        Example(
            span.text,
            (around(label.context, span.start, span.end),),
            ((label.question, 1.0),),
        )
        for label in labels
        for span in label.answers
        if any(map(str.isalnum, span.text))
    ]
    unanswerable = sum(not label.answers for label in labels)
    return examples, Counter(questions=len(examples), unanswerable=unanswerable)


def around(text: str, start: int, end: int, most_words: int = MOST_WORDS) -> str:
    """Return the sentences of an answer, with as many whole ones around them as fit.

    Args:
        text: the review.
        start: first character of the answer.
        end: the character after its last.
        most_words: of the stretch, unless the answer's own sentences have more.

    >>> around("It broke. The lid is red. I like it.", 14, 17, most_words=6)
    'It broke. The lid is red.'
    """
    places = sentences(text)
    own = [at for at, (first, last) in enumerate(places) if first < end and start < last]
    if not own:
        return text
    low, high = own[0], own[-1]
    lengths = [len(text[first:last].split()) for first, last in places]
    words = sum(lengths[low : high + 1])
    grown = True
    while grown:
        grown = False
        if low > 0 and words + lengths[low - 1] <= most_words:
            low, words, grown = low - 1, words + lengths[low - 1], True
        if high + 1 < len(places) and words + lengths[high + 1] <= most_words:
            high, words, grown = high + 1, words + lengths[high + 1], True
    return text[places[low][0] : places[high][1]]
