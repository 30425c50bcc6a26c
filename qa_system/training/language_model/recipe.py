"""The recipe of `qa train language-model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qa_system.config import Positive, Strict
from qa_system.training.recipes import Share, Source, Training

__all__ = ["LanguageModelTraining", "Masking", "ReviewSource"]


class ReviewSource(Source):
    """Reviews to learn from, or to measure on; they need no labels."""

    path: str
    """`store:FOLDER`, the reviews of a store; a data set, as `qa train reader` reads it, whose
    questions and answers are not used; or whatever `qa-index run --source` reads."""
    split: str | None = None
    """Of a data set; None: all of it."""
    columns: Mapping[
        Literal["review_id", "item_id", "text", "title", "stars", "date", "author"], str
    ] = Field(default_factory=dict)
    """Of review files: which column holds what; others are found by the names that are known."""
    item: str | None = None
    """Of review files without a column for the item: a name for the one they are about. What is
    held out of such a file is reviews."""
    held_out: Share = 0.0
    """Share of the items (of the reviews, where there are no items) that nothing is learnt from,
    in no source: they are measured on."""


class Masking(Strict):
    """What is hidden of a text, to be predicted (Devlin et al., 2019, section 3.1)."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that are predicted."""
    masked: Share = 0.8
    """Of these, the share that a mask takes the place of."""
    random: Share = 0.1
    """And the share that a token drawn at random takes the place of; the rest stays."""
    whole_words: bool = True
    """Whether the tokens of a word are predicted together; False: each token by itself."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.masked + self.random > 1:
            message = "`masked` and `random` are more than 1 together"
            raise ValueError(message)
        return self


class LanguageModelTraining(Training):
    """How `qa train language-model` trains."""

    model: str
    """Where it starts: an encoder, a reader or a sentence-transformers model, with or without a
    head that predicts tokens."""
    train: tuple[ReviewSource, ...]
    """The weight of a source says how often each of its windows is seen in an epoch, each time
    with other words hidden."""
    dev: tuple[ReviewSource, ...] = ()
    """Early stopping, with what is held out, by how likely hidden words are; each source counts
    as much as the next. Of an item or a text that stands there, nothing is learnt."""
    dev_windows: Positive = 500
    """Of each source that is measured on, at most; drawn at random."""
    masking: Masking = Masking()
    layout: Literal["packed", "windows"] = "packed"
    """`packed`: reviews one after the other, cut into windows of `max_seq_length`. `windows`: each
    review begins a window of its own, and long ones take several."""
    max_seq_length: Annotated[int, Field(ge=16)] = 128
    """Tokens of a window, special tokens included."""
    dropout: Share = 0.1
    """Between the layers; attention has none."""
    batch_size: Positive = 32
