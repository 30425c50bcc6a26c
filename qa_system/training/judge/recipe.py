"""The recipe of `qa train judge`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from qa_system.config import Positive, Strict
from qa_system.datasets.pairs import Pair
from qa_system.training.recipes import AboveZero, AtLeastZero, Share, Source, Training

__all__ = ["JudgeNegatives", "JudgeTraining", "JudgeWeights", "PairsSource"]


class JudgeNegatives(Strict):
    """Sentences that do not answer, for each question of a labelled data set."""

    same_text: Annotated[int, Field(ge=0)] = 3
    """Of the text that answers, or in which annotators found no answer: half of them those that
    share most words with the question."""
    other_text: Annotated[int, Field(ge=0)] = 1
    """Of another question's text."""
    exchanged: Share = 0.5
    """Share of the questions of which one word is exchanged for another question's, paired with
    the sentence that answered before."""


class JudgeWeights(Strict):
    """How much the heads count in the loss of a pair that has labels for them."""

    answers: AtLeastZero = 1.0
    stance: AtLeastZero = 1.0
    polarity: AtLeastZero = 1.0
    subjective: AtLeastZero = 0.5


class PairsSource(Strict):
    """Labelled pairs of a question and a sentence; see `qa_system.datasets.pairs`."""

    path: str
    """A JSON Lines file."""
    reviews: tuple[str, ...] = ()
    """Data sets whose reviews the file names stretches of."""
    weight: AboveZero = 1.0
    """How often each pair is seen in an epoch."""
    held_out: Share = 0.0
    """Share of the items (of the questions, where no item is named) that nothing is learnt from,
    in no file: they are measured and calibrated on."""

    def weighted(self, pairs: Sequence[Pair], seed: int) -> list[Pair]:
        """Return each pair as often as the weight says; its fraction is drawn at random."""
        return Source(path=self.path, weight=self.weight).weighted(pairs, seed)


class JudgeTraining(Training):
    """How `qa train judge` trains."""

    model: str
    """Where it starts: an encoder, or a judge."""
    train: tuple[Source, ...] = ()
    """Labelled questions: a sentence that holds an answer answers, others do not."""
    dev: tuple[Source, ...] = ()
    """Early stopping; with what is held out of `pairs`."""
    pairs: tuple[PairsSource, ...] = ()
    """Labelled pairs."""
    negatives: JudgeNegatives = JudgeNegatives()
    weights: JudgeWeights = JudgeWeights()
    layers: Positive | None = None
    """How many of the encoder's layers are kept, evenly; None: all."""
    frozen_embeddings: bool = True
    """Whether the table of embeddings stays as it is: an export then stores it as no difference
    from that of the encoder."""
    dropout: Share = 0.1
    """Between the layers; attention has none."""
    max_seq_length: Annotated[int, Field(ge=16)] = 128
    """Tokens of question and text at most."""
    batch_size: Positive = 32
