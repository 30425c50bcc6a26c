"""Labels -> what a generator learns from: a question, texts, and the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qa_system.labels import gold_texts, is_answered
from qa_system.records import Label
from qa_system.training.negatives import ranked_by_bm25

__all__ = ["Example", "answer_examples"]


@dataclass(frozen=True, slots=True)
class Example:
    """A question, texts, and the answers to it.

    Args:
        question: what is asked.
        texts: the one that the answers are from first, then those that compete with it.
        answers: each with its share; the shares' sum is 1.
        titles: one a text, or none: they have none.
    """

    question: str
    texts: tuple[str, ...]
    answers: tuple[tuple[str, float], ...]
    titles: tuple[str, ...] = ()


def answer_examples(labels: Sequence[Label], documents: int) -> tuple[list[Example], Counter[str]]:
    """Return an example for each label that has an answer.

    All of the annotators' answers are learnt, each as often as it was given, and a question
    counts once, whatever their number. A text that competes may answer, too: the loss finds out
    which ones help, so that none has to be kept out.

    Args:
        labels: of one data set, whose texts compete.
        documents: texts of an example at most: the label's own, then those of the same item
            (of all texts, where there are no items), as BM25 ranks them for the question.

    Returns:
        The examples, and counts: `questions`; `unanswerable`, labels that were left out.

    >>> from qa_system.records import AnswerSpan
    >>> span, no = AnswerSpan("light", 5, 10), Label("p", "Is it?", None, "s", "No.", ())
    >>> label = Label("q", "How is it?", None, "r", "Very light.", (span,))
    >>> answer_examples([label, no], documents=1)[0][0].answers
    (('light', 1.0),)
    """
    answered = [label for label in labels if is_answered(label)]
    counts = Counter(questions=len(answered), unanswerable=len(labels) - len(answered))
    titles = {label.context: str(label.meta.get("title") or "") for label in labels}
    near: dict[tuple[str, str | None], list[str]] = {}
    if documents > 1:
        texts = {label.context: label.item_id for label in labels}
        asked = [(label.question, label.item_id) for label in answered]
        near = ranked_by_bm25(texts, asked, documents)
    examples = []
    for label in answered:
        found = near.get((label.question, label.item_id), [])
        texts_of = (label.context, *(text for text in found if text != label.context))[:documents]
        examples.append(
            Example(
                label.question,
                texts_of,
                _shares(label),
                tuple(titles[text] for text in texts_of),
            )
        )
    return examples, counts


def _shares(label: Label) -> tuple[tuple[str, float], ...]:
    given = Counter(span.text for spans in label.annotations for span in spans)
    votes = given or Counter(gold_texts(label))
    return tuple((text, count / votes.total()) for text, count in votes.items())
