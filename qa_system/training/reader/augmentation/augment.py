"""Examples once more in other words: synonyms, back-translation, and the forms of shoppers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

from qa_system.aspects.words import Word, words
from qa_system.texts.sentences import sentences
from qa_system.training.reader.augmentation.back_translation import BackTranslator
from qa_system.training.reader.augmentation.edits import Edit, Span, edited, touches
from qa_system.training.reader.augmentation.synonyms import Synonyms, synonyms_of
from qa_system.training.reader.examples import Example, drawn
from qa_system.training.reader.forms import with_forms
from qa_system.training.recipes import BackTranslation, ReaderRecipe, SynonymSettings

__all__ = ["in_other_words", "paraphrased", "varied"]


def varied(
    examples: Sequence[Example], recipe: ReaderRecipe, seed: int
) -> tuple[list[Example], Counter[str]]:
    """Return examples, and as many more in other words and forms as a recipe says.

    The answers stay what they are, and where they are: their places move along.

    Args:
        examples: of one source, labelled or not.
        recipe: its `augmentation` and `forms`.
        seed: of the draws.

    Returns:
        The examples with the new ones behind them, and counts: `synonyms`, `back_translated`,
        `reworded`, `misspelt`.

    Raises:
        ModelError: a model that the recipe names is not there.
        DataError: WordNet is not where the recipe says.
    """
    told = recipe.augmentation
    added: list[Example] = []
    counts: Counter[str] = Counter()
    if told.synonyms.share:
        new = _with_synonyms(examples, told.synonyms, Random(f"synonyms {seed}"))
        counts["synonyms"] = len(new)
        added += new
    if told.back_translation is not None and told.back_translation.share:
        new = _translated(
            examples, told.back_translation, Random(f"translation {seed}"), recipe.device
        )
        counts["back_translated"] = len(new)
        added += new
    reworded, formed = with_forms([*examples, *added], recipe.forms, seed)
    return reworded, counts + formed


def in_other_words(
    example: Example, synonyms: Synonyms, draw: Random, *, share: float, in_answers: bool = False
) -> Example | None:
    """Return an example with synonyms; None: it has no word to replace.

    A word is replaced everywhere, in the question and in the review, by the same word. So the
    question asks of the review what it asked before, even if the two words are no synonyms.

    Args:
        example: labelled or not.
        synonyms: what may stand for a word.
        draw: draws words and their synonyms.
        share: of the words that have a synonym, so many are replaced; at least one.
        in_answers: also words that an answer has; others are left alone everywhere.

    >>> example = Example("How is the photo?", "The photo is blurred.", ((4, 20),))
    >>> synonyms = {"photo": ["picture"]}
    >>> in_other_words(example, synonyms, Random(1), share=1) is None
    True
    >>> in_other_words(example, synonyms, Random(1), share=1, in_answers=True)
    Example(question='How is the picture?', context='The picture is blurred.', spans=((4, 22),))
    """
    in_question, in_text = words(example.question), words(example.context)
    spans = example.spans or ()
    there = {word.text for word in (*in_question, *in_text)}
    answered = {word.text for word in in_text if touches(word.start, word.end, spans)}
    fitting = sorted(
        word
        for word in there & synonyms.keys()
        # What stands there already would say two things by one word.
        if set(synonyms[word]) - there and (in_answers or word not in answered)
    )
    if not fitting:
        return None
    chosen = draw.sample(fitting, max(round(share * len(fitting)), 1))
    new = {word: draw.choice(sorted(set(synonyms[word]) - there)) for word in chosen}
    question, _ = edited(example.question, _edits(example.question, in_question, new), ())
    inside = [
        word
        for word in in_text
        if not any(
            word.start < first < word.end or word.start < last < word.end for first, last in spans
        )
    ]
    context, moved = edited(example.context, _edits(example.context, inside, new), spans)
    return Example(question, context, None if example.spans is None else tuple(moved))


def paraphrased(example: Example, paraphrases: Mapping[str, str]) -> Example | None:
    """Return an example whose question and sentences are paraphrased; None: none of them is.

    A sentence that has a part of an answer stays as it is.

    >>> example = Example("Loud?", "It came late. It is loud.", ((14, 24),))
    >>> paraphrased(example, {"It came late.": "It arrived late.", "It is loud.": "Loud."})
    Example(question='Loud?', context='It arrived late. It is loud.', spans=((17, 27),))
    """
    edits: list[Edit] = [
        (start, end, new)
        for start, end in _free_sentences(example)
        if (new := paraphrases.get(example.context[start:end])) is not None
    ]
    question = paraphrases.get(example.question, example.question)
    if not edits and question == example.question:
        return None
    context, moved = edited(example.context, edits, example.spans or ())
    return Example(question, context, None if example.spans is None else tuple(moved))


def _with_synonyms(
    examples: Sequence[Example], told: SynonymSettings, draw: Random
) -> list[Example]:
    texts = {text: None for each in examples for text in (each.question, each.context)}
    synonyms = synonyms_of(texts, told.source, told.similarity)
    found = (
        in_other_words(each, synonyms, draw, share=told.words, in_answers=told.in_answers)
        for each in drawn(examples, told.share, draw)
    )
    return [each for each in found if each is not None]


def _translated(
    examples: Sequence[Example], told: BackTranslation, draw: Random, device: str
) -> list[Example]:
    chosen = drawn(examples, told.share, draw)
    texts = [
        text
        for each in chosen
        for text in (
            each.question,
            *(each.context[start:end] for start, end in _free_sentences(each)),
        )
    ]
    paraphrases = BackTranslator(told.there, told.back, device).paraphrases(texts)
    found = (paraphrased(each, paraphrases) for each in chosen)
    return [each for each in found if each is not None]


def _free_sentences(example: Example) -> list[Span]:
    """Return the sentences of a review that have no part of an answer."""
    return [
        (start, end)
        for start, end in sentences(example.context)
        if not touches(start, end, example.spans or ())
    ]


def _edits(text: str, there: Sequence[Word], new: Mapping[str, str]) -> list[Edit]:
    edits = []
    for word in there:
        if word.text not in new:
            continue
        end = word.start + len(word.text)  # without a possessive 's
        edits.append((word.start, end, _as_written(text[word.start : end], new[word.text])))
    return edits


def _as_written(old: str, new: str) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new.capitalize() if old[:1].isupper() else new
