"""Parts of readers' recipes: which examples are made of the labels, beside the labels' own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qa_system.config import Strict

__all__ = [
    "AboveZero",
    "AtLeastZero",
    "Augmentation",
    "BackTranslation",
    "HardNegatives",
    "QuestionForms",
    "Share",
    "SynonymSettings",
]

Share = Annotated[float, Field(ge=0, le=1)]
AtLeastZero = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]


class HardNegatives(Strict):
    """Questions paired with a text that does not answer them, as a share of the source's own.

    Without them a reader has only met texts that were chosen for the question, and its abstention
    means little in a pipeline that reads ten reviews.
    """

    same_item: AtLeastZero = 0.1
    """With another text of the same item, of all texts where there are no items: the ones that
    BM25 finds for the question."""
    other_item: AtLeastZero = 0.05
    """With any text of another item."""


class QuestionForms(Strict):
    """Questions that are asked once more as shoppers ask, with the same answers.

    Each is a share of the source's own questions (`qa_system.training.reader.forms`).
    """

    reworded: AtLeastZero = 0.0
    """In another form that keeps the answers true: "Any lid?" for "Does it have a lid?". Questions
    that have another form are drawn again where they are fewer than that."""
    misspelt: AtLeastZero = 0.0
    """With a slip of the keyboard, or without marks and capitals."""


class SynonymSettings(Strict):
    """Examples once more with other words in question and review, and the same answers."""

    share: AtLeastZero = 0.0
    """As a share of the source's own examples."""
    source: str = "bundled:encoder"
    """Where synonyms are from: an encoder, whose nearest nouns are taken, or `wordnet:FOLDER`, a
    database of WordNet, such as `wordnet:/usr/share/wordnet`."""
    similarity: Share = 0.7
    """Of an encoder: the cosine of two words' embeddings, from which on one may stand for the
    other."""
    words: Share = 0.3
    """Share of an example's words that have a synonym; at least one is replaced."""
    in_answers: bool = False
    """Whether words of an answer are replaced, too."""


class BackTranslation(Strict):
    """Examples once more, their question and sentences translated into a language and back.

    A sentence that has a part of an answer stays, and so does one whose translation has other
    numbers or negations.
    """

    share: AtLeastZero = 0.0
    """As a share of the source's own examples."""
    there: str
    """A seq2seq model that translates into another language: a folder or a Hub id."""
    back: str
    """One that translates back."""


class Augmentation(Strict):
    """Examples in other words (`qa_system.training.reader.augmentation`)."""

    synonyms: SynonymSettings = SynonymSettings()
    back_translation: BackTranslation | None = None

    def models(self) -> dict[str, str]:
        """Return the names of the models that are used, by their role."""
        found = {}
        if self.synonyms.share and not self.synonyms.source.startswith("wordnet:"):
            found["synonyms"] = self.synonyms.source
        if self.back_translation is not None and self.back_translation.share:
            found["there"] = self.back_translation.there
            found["back"] = self.back_translation.back
        return found
