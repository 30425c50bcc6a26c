"""Recipes of training runs: YAML files, every key checked, nothing assumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from qa_system.config import (
    Device,
    Overrides,
    PassageSettings,
    Positive,
    Strict,
    apply_overrides,
    describe,
    read_yaml,
)
from qa_system.config.shipped import resource
from qa_system.errors import ConfigError
from qa_system.training.recipe_parts import (
    AboveZero,
    AtLeastZero,
    Augmentation,
    BackTranslation,
    HardNegatives,
    QuestionForms,
    Share,
    SynonymSettings,
)

__all__ = [
    "AboveZero",
    "Adaptation",
    "AtLeastZero",
    "Augmentation",
    "BackTranslation",
    "DistillTraining",
    "FromScratch",
    "GeneratorTraining",
    "HardNegatives",
    "Noise",
    "QuestionForms",
    "RankerNegatives",
    "RankerTraining",
    "ReaderRecipe",
    "ReaderTraining",
    "RetrieverNegatives",
    "RetrieverTraining",
    "Schedule",
    "Share",
    "Source",
    "SynonymSettings",
    "TaughtSource",
    "TeacherSettings",
    "Training",
    "UnlabelledPairs",
    "load_training",
]

Row = TypeVar("Row")


class Source(Strict):
    """A data set to learn from, or to measure on."""

    path: str
    """What `qa_system.datasets.dataset.read_dataset` takes."""
    split: str | None = None
    """None: all of it."""
    weight: AboveZero = 1.0
    """How often each question is seen in an epoch: 0.5 draws half of the questions, once."""
    held_out: Share = 0.0
    """Share of the items (of the texts, where there are no items) that nothing is learnt from, so
    that the model can be measured and calibrated on them beside dev."""

    def weighted(self, rows: Sequence[Row], seed: int) -> list[Row]:
        """Return each row as often as the weight says; its fraction is drawn at random.

        >>> Source(path="x", weight=2.5).weighted(["a", "b"], seed=0)
        ['a', 'b', 'a', 'b', 'b']
        """
        whole, rest = divmod(self.weight, 1)
        return list(rows) * int(whole) + Random(seed).sample(rows, round(rest * len(rows)))


class Schedule(Strict):
    """How long and how fast a model is trained."""

    seed: int = 13
    epochs: AboveZero = 2.0
    batch_size: Positive = 16
    """Rows in a step."""
    learning_rate: AboveZero = 1e-4
    """At its highest; it rises over the warm-up and falls linearly to 0."""
    warmup: Share = 0.1
    weight_decay: AtLeastZero = 0.01
    evaluations: Positive = 4
    """Measurements on dev, evenly over the run; the best one's weights are kept."""
    patience: Positive = 3
    """Measurements without a better F1 after which training stops."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the hardware multiplies it."""
    device: Device = "auto"


class Training(Schedule):
    """How a model is trained, starting from another."""

    model: str
    """Where it starts."""
    train: tuple[Source, ...]
    dev: tuple[Source, ...]

    def models(self) -> dict[str, str]:
        """Return the names of the models that it is made of, by their role."""
        return {"model": self.model}


class ReaderRecipe(Schedule):
    """How a reader is trained, wherever it starts and whatever it learns from."""

    negatives: HardNegatives = HardNegatives()
    augmentation: Augmentation = Augmentation()
    forms: QuestionForms = QuestionForms()
    dropout: Share = 0.1
    """Between the layers. Attention has none: on a CPU it costs a third of the time."""
    frozen_layers: Annotated[int, Field(ge=0)] = 0
    """How many of the lowest layers do not learn, and with them the embeddings; 0: all learn."""
    max_seq_length: Annotated[int, Field(ge=16)] = 384
    stride: Annotated[int, Field(ge=0)] = 128
    max_answer_length: Positive = 40


class ReaderTraining(ReaderRecipe, Training):
    """How `qa train reader` trains."""

    model: str
    """Where it starts: an encoder or a question-answering checkpoint."""
    dev: tuple[Source, ...]
    """Early stopping and calibration; each source counts as much as the next."""

    def models(self) -> dict[str, str]:
        """Return the names of where it starts, and of what examples are put in other words by."""
        return super().models() | self.augmentation.models()


class FromScratch(Strict):
    """How a plain encoder is trained instead, which has more to learn; None: the same."""

    epochs: AboveZero | None = None
    learning_rate: AboveZero | None = None


class Adaptation(ReaderRecipe):
    """How `qa-eval adapt` trains its readers: all alike, but for where they start."""

    replay: AboveZero = 1.0
    """Questions of the replayed sources for each question of the domain."""
    held_out: Share = 0.0
    """See `Source.held_out`; of the domain's training split."""
    dev_of_fold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of a fold's training items that the reader is tuned on instead."""
    domain_only: FromScratch = FromScratch()


class RankerNegatives(Strict):
    """Texts that a ranker learns to put behind those that answer a question."""

    same_item: Annotated[int, Field(ge=0)] = 7
    """Other texts of the same item: first those in which annotators found no answer, then those
    that BM25 finds for the question."""
    other_item: Annotated[int, Field(ge=0)] = 1
    """Texts of other items, drawn at random."""


class RankerTraining(Training):
    """How `qa train ranker` trains."""

    model: str
    """Where it starts: an encoder, a reader, or a cross-encoder."""
    dev: tuple[Source, ...]
    """Early stopping, by MRR over an item's reviews; each source counts as much as the next."""
    loss: Literal["listwise", "pointwise"] = "listwise"
    """`listwise`: ListNet, a softmax over each question's texts, and `batch_size` questions in a
    step. `pointwise`: binary cross-entropy, and `batch_size` texts in a step."""
    negatives: RankerNegatives = RankerNegatives()
    candidates: Positive = 30
    """Reviews that a question of dev is measured on at most: the ones that BM25 finds."""
    max_seq_length: Annotated[int, Field(ge=16)] = 384
    """Tokens of question and text at most; the text is cut to fit, in training and afterwards."""


class RetrieverNegatives(Strict):
    """Negative passages of a question, beside the passages of the other rows of its batch.

    Every row has `same_item + other_item` of them. Where an item has too few texts, others, drawn
    at random, take their place. No text that an annotator found an answer in is a negative.
    """

    same_item: Annotated[int, Field(ge=0)] = 2
    """Of other texts of the same item, the ones that BM25 finds for the question: for searches on a
    product page."""
    other_item: Annotated[int, Field(ge=0)] = 0
    """Of other items' texts, the ones that BM25 finds: for searches over everything."""


class TeacherSettings(Strict):
    """A model that judges passages, where nobody has labelled any."""

    model: str
    """A reader (its best span's log-odds), or a cross-encoder with one output (its logit)."""
    candidates: Annotated[int, Field(ge=2)] = 6
    """Passages judged for a question: BM25's best, filled up with passages of other items."""
    temperature: AboveZero = 2.0
    """The teacher's scores are divided by it; more makes its judgement less sharp."""
    questions: str | None = None
    """A file, a question a line, for example from a shop's search log; after a tab the item it
    was asked about, where that is known. None: the sources' own questions, without their labels.
    """
    items_per_question: Positive = 4
    """Items, drawn at random, about which a question of the file that names none is asked."""


class RetrieverTraining(Training):
    """How `qa train retriever` trains."""

    model: str
    """Where it starts: a sentence-transformers model, or any encoder."""
    train: tuple[Source, ...]
    """With `teacher` or `cloze`, `store:FOLDER` is a source, too: the reviews of a store."""
    dev: tuple[Source, ...]
    """Early stopping by MRR; each source counts as much as the next."""
    labels: Literal["given", "teacher", "cloze"] = "given"
    """`given`: the annotators'. `teacher`: a model's judgement of passages that BM25 finds
    (GPL). `cloze`: a sentence is the question, and what stood around it answers (ICT)."""
    teacher: TeacherSettings | None = None
    towers: Literal["one", "two"] = "one"
    """`two`: questions and passages have an encoder each, as in DPR; they start alike."""
    negatives: RetrieverNegatives = RetrieverNegatives()
    passages: PassageSettings = PassageSettings()
    """Set them as in `indexing.passages`, so that what is learnt from is what is searched."""
    max_seq_length: Annotated[int, Field(ge=16)] = 256
    """Tokens that are read of a passage."""
    scale: AboveZero = 20.0
    """Cosines are multiplied by it before the softmax."""
    chunk_size: Positive | None = None
    """Rows that go through the model at once, where memory is short of `batch_size`; the
    gradient is the same (GradCache), and the time a third more. None: all."""
    batch_size: Positive = 32
    learning_rate: AboveZero = 5e-5

    @model_validator(mode="after")
    def _teacher_where_needed(self) -> Self:
        if (self.labels == "teacher") != (self.teacher is not None):
            message = "`teacher` is to be given with `labels: teacher`, and only then"
            raise ValueError(message)
        return self

    def models(self) -> dict[str, str]:
        """Return the names of where it starts, and of the teacher."""
        return super().models() | ({"teacher": self.teacher.model} if self.teacher else {})


class Noise(Strict):
    """What `objective: denoise` makes of a text: a stretch of it with gaps, to be filled."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the stretch's words that is left out; BART's is 0.3."""
    mean_length: AboveZero = 3.0
    """Words of a gap, Poisson, at least one; BART's is 3."""
    target_words: Annotated[int, Field(ge=4)] = 20
    """Words of a stretch at most."""
    text_words: Annotated[int, Field(ge=8)] = 100
    """Words of the text around it at most; texts are cut where sentences end."""


class GeneratorTraining(Training):
    """How `qa train generator` trains."""

    model: str
    """Where it starts: a BART, T5 or RAG checkpoint; with `decoder_layers`, an encoder."""
    decoder_layers: Positive | None = None
    """A small BART is built of the encoder that `model` names, with so many layers of decoder."""
    objective: Literal["answer", "denoise", "question"] = "answer"
    """`answer`: the annotators' answers. `denoise`: the sources' texts alone teach to find a
    stretch of a text and to copy it; the next run's `model` is then this one's folder. `question`:
    the other way round, an answer and the text around it become the question (`qa questions`)."""
    train: tuple[Source, ...]
    dev: tuple[Source, ...]
    """Early stopping by the F1 of greedy answers; each source counts as much as the next."""
    dev_questions: Positive = 200
    """Of each source of dev, drawn at random."""
    loss: Literal["token", "sequence"] = "token"
    """RAG-Token or RAG-Sequence (Lewis et al., 2020); the same with one document."""
    documents: Positive = 5
    """Texts of a question: its own, and the best other ones of the same item (of all texts, where
    there are no items) that BM25 finds. 1: its own alone."""
    question_encoder: str | None = None
    """An encoder that learns, through the loss, which texts help to answer."""
    passage_encoder: str | None = None
    """What embeds the texts; it learns nothing. None: the question encoder as it starts. Without
    either all texts are as likely, and without a question encoder this one takes its place."""
    score_scale: AboveZero | None = None
    """Dot products are multiplied by it before the softmax over a question's texts. None: the
    model's own; 20 where it is built of an encoder."""
    template: str | None = None
    """How a question and a text become a source, with `{question}`, `{text}`, and `{title}` for
    the text's. None: the model's own; `{question} [SEP] {text}` where it is built of an encoder."""
    max_source_length: Annotated[int, Field(ge=16)] = 384
    """Tokens of a source at most; its text is cut to fit, in training and afterwards."""
    max_answer_length: Positive = 32
    """Tokens of an answer, with the one that ends it; longer ones are left out of training."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss that all tokens have, alike."""
    dropout: Share = 0.1
    """Between the layers; attention has none."""
    noise: Noise = Noise()
    save_precision: Literal["bf16", "fp32"] = "bf16"
    """Of the saved weights; bf16 takes half the space."""

    @model_validator(mode="after")
    def _retrieval_where_it_means_something(self) -> Self:
        if self.objective != "answer" and self.documents != 1:
            message = f"`objective: {self.objective}` reads a text alone: set `documents: 1`"
            raise ValueError(message)
        if self.documents == 1 and (self.question_encoder or self.passage_encoder):
            message = "an encoder weighs documents, and `documents: 1` leaves nothing to weigh"
            raise ValueError(message)
        return self

    def models(self) -> dict[str, str]:
        """Return the names of where it starts, and of the encoders that weigh documents."""
        encoders = {
            "question_encoder": self.question_encoder,
            "passage_encoder": self.passage_encoder,
        }
        return super().models() | {role: name for role, name in encoders.items() if name}


class TaughtSource(Source):
    """A data set that a student learns from."""

    labelled: bool = True
    """False: its answers are not used; the student learns from the teacher alone."""


class UnlabelledPairs(Strict):
    """Questions of the labelled sources, paired with texts that the teacher alone judges."""

    same_item: AtLeastZero = 0.0
    """With texts of the same item that BM25 finds for the question (of any item where labels name
    none). As a share of the source's questions."""
    exchanged: AtLeastZero = 0.0
    """With the text that answers them, after one word of the question was exchanged for a word of
    another question. As a share of the questions that have an answer."""


class DistillTraining(ReaderTraining):
    """How `qa distill` trains; `model` is the student."""

    teacher: str
    """A reader: a checkpoint, or an export of one, whose tokenizer differs from the student's in
    the special tokens at most."""
    train: tuple[TaughtSource, ...]
    pairs: UnlabelledPairs = UnlabelledPairs()
    soft_targets: str | None = None
    """The folder that keeps the teacher's logits, so that other runs need not ask it again. None:
    they are kept until the run is done."""
    layers: Positive | None = None
    """Layers of the student's checkpoint that are kept, evenly chosen; None: all of them."""
    alpha: Share = 0.5
    """Weight of the teacher's logits in the loss; the labels' is the rest."""
    temperature: AboveZero = 2.0
    """Of the teacher's and the student's distributions; above 1, likely tokens differ less."""

    def models(self) -> dict[str, str]:
        """Return the names of where the student starts, and of the teacher."""
        return super().models() | {"teacher": self.teacher}


AnyTraining = TypeVar("AnyTraining", bound=Strict)


def load_training(
    kind: type[AnyTraining],
    path: str | Path | None,
    overrides: Overrides = (),
) -> AnyTraining:
    """Read the recipe of a training run.

    Args:
        kind: which recipe, for example `ReaderTraining`.
        path: a YAML file, or the name of one that ships with qa-system (`reader-general`); None:
            `overrides` are the whole recipe.
        overrides: what takes the place of the file's, as in `qa_system.config.load_settings`.

    Raises:
        ConfigError: naming every unknown key and wrong value by its path.

    >>> load_training(Source, None, ["path=reviews.json", "weight=0.5"]).weight
    0.5
    """
    tree = {} if path is None else read_yaml(path, "recipe")
    sources = apply_overrides(tree, overrides)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            describe(error, sources),
            where=None if path is None else str(path),
            remedy=f"The recipes explain every key: {resource('configs') / 'train'}.",
        ) from None
