"""Everything that can be set, as one strict tree; `configs/default.yaml` explains every key."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from qa_system.config.choices import (
    Backend,
    Evidence,
    Misfits,
    Precision,
    SourceFormat,
)
from qa_system.config.serving_schema import ServingSettings
from qa_system.config.store_schema import AnyStoreSettings, Positive, StoreSettings, Strict

__all__ = [
    "AnswersSettings",
    "Device",
    "EncoderSettings",
    "GeneratorSettings",
    "IndexingSettings",
    "JudgeSettings",
    "PassageSettings",
    "RankerSettings",
    "ReaderSettings",
    "RetrieverSettings",
    "Settings",
]

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
"""Where a model runs: `auto`, `cpu`, `cuda`, `cuda:1` and so on, or `mps`."""


class EncoderSettings(Strict):
    """The model that turns questions and passages into vectors."""

    model: str = "bundled:encoder"
    question_model: str | None = None
    """A second tower for questions, as DPR has it; None: `model` encodes both."""
    embed_title: bool = False
    """Whether a review's `meta.title` and its text are read as a pair, as DPR was trained."""
    backend: Backend = "auto"
    precision: Precision = "auto"
    device: Device = "auto"
    max_seq_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens read of a text; None: the model's own (256 for DPR, as it was trained)."""
    batch_tokens: Positive | None = None
    """Padded tokens in one forward pass; None: what measured best for the device."""
    threads: Positive | None = None


class RetrieverSettings(Strict):
    """How reviews are found."""

    mode: str = "hybrid"
    """`bm25`, `dense`, `hybrid`, `sentences`, `judged`, or a retriever of your own
    (`qa_system.retrievers.registry`)."""
    top_k: Positive = 10
    join: Literal["weighted_sum", "reciprocal_rank_fusion"] = "weighted_sum"
    bm25_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weighted sum: the share of BM25 in the joined score; the dense retriever has the rest. Of
    sentences: the share of the question's words."""
    relevant: Annotated[float, Field(ge=0, le=1)] = 0.28
    """The score from which on a sentence bears on the question, and its review is considered."""


class RankerSettings(Strict):
    """How the reviews that were found are put in order, before the best are read."""

    type: Literal["none", "reader", "cross_encoder"] = "none"
    model: str | None = None
    """None: the reader ranks, too; a cross-encoder has to be named."""
    prior: Annotated[float, Field(ge=0)] = 0.0
    """Of a reader: log-odds that the retriever's best review has over its worst beforehand."""
    candidates: Positive = 30
    """Reviews that the retriever hands over; never fewer than `retriever.top_k`, the number that
    the ranker lets through."""
    device: Device = "auto"
    """Of a model named here; the reader's has its own."""

    @model_validator(mode="after")
    def _cross_encoder_is_named(self) -> RankerSettings:
        if self.type == "cross_encoder" and self.model is None:
            raise ValueError("type cross_encoder needs a model")
        return self


class ReaderSettings(Strict):
    """How answers are found in a review."""

    model: str = "bundled:reader"
    backend: Backend = "auto"
    precision: Precision = "auto"
    device: Device = "auto"
    max_seq_length: Annotated[int, Field(ge=16)] = 384
    stride: Annotated[int, Field(ge=0)] = 128
    max_answer_length: Positive = 40
    evidence: Evidence = "sentences"
    """What is read: the best sentences of all reviews with their neighbours, up to `budget`; or the
    best `retriever.top_k` reviews whole."""
    budget: Positive = 512
    """Tokens that are read for a question, its own in each window included; with `sentences`."""
    no_answer_threshold: float | None = None
    """Log-odds below which the reviews "don't say"; None: the one fitted with the model."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    batch_tokens: Positive | None = None
    threads: Positive | None = None
    snippet_chars: Positive = 160

    @model_validator(mode="after")
    def _stride_leaves_room(self) -> ReaderSettings:
        if self.stride >= self.max_seq_length // 2:
            raise ValueError(
                "stride must be less than half of max_seq_length; set reader.stride to "
                f"{self.max_seq_length // 4}, or reader.max_seq_length to {2 * self.stride + 2}"
            )
        return self


class JudgeSettings(Strict):
    """What says of a sentence whether it answers a question, and how."""

    model: str = "bundled:judge"
    backend: Backend = "auto"
    precision: Precision = "auto"
    device: Device = "auto"
    sentences: Annotated[int, Field(ge=0)] = 64
    """The best sentences of a question that are judged; 0: there is no judge, and what the reader
    marks is what the reviews say, without a verdict."""
    batch_tokens: Positive | None = None
    """Padded tokens in one forward pass; None: what measured best for the device."""
    threads: Positive | None = None
    """Batches side by side, each by one thread; None: as many as there are cores."""


class AnswersSettings(Strict):
    """How what reviews say is counted: mentions, points and the verdict."""

    min_reviews: Positive = 2
    """Reviews whose stance is decided that a verdict needs."""
    mention: Annotated[float, Field(ge=0, le=1)] | None = None
    """The probability from which on a sentence is a mention; None: as fitted with the pipeline, or
    0.7 where nothing was."""
    decided: Annotated[float, Field(ge=0, le=1)] | None = None
    """The probability from which on a stance is decided; None: likewise."""
    similarity: Annotated[float, Field(ge=-1, le=1)] = 0.45
    """The mean cosine of mentions from which on they say the same, and are one point."""
    same_stance: Annotated[float, Field(ge=0)] = 0.15
    """What is added to the cosine of two mentions that answer a polar question alike."""
    confidence: str | None = None
    """The file of what mentions' confidences mean, as `qa-eval calibrate --pipeline` writes it;
    None: the one that ships with the bundled models; `/dev/null`: they stay as they are."""
    max_error: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of the answers given that may be wrong, kept with 95 % confidence; None: no
    promise, and the threshold with the highest score. It is not of compound questions, whose
    parts the reader does not read."""


class GeneratorSettings(Strict):
    """How answers are written from reviews."""

    type: Literal["rag", "chat"] = "rag"
    model: str = "bundled:generator"
    """Of a chat: the name that the server has for it."""
    documents: Positive = 5
    """How many of the reviews that were found it reads."""
    prior: Literal["reader", "retriever"] = "reader"
    """What says beforehand which of them to believe, and which are read: the reader's log-odds that
    they answer, or the dense retriever's scores. A chat model is given the retriever's best."""
    mode: Literal["token", "sequence"] | None = None
    """None: as the model was trained."""
    thorough: bool = True
    """Mode sequence: an answer found in one review is scored in all of them."""
    num_beams: Positive = 5
    max_length: Annotated[int, Field(ge=2)] | None = None
    """Tokens of an answer at most; None: as the model was trained, or what the server allows."""
    length_penalty: float = 1.0
    template: str | None = None
    """How `{question}`, `{text}` and `{title}` become what is read; None: as it was trained."""
    max_source_length: Annotated[int, Field(ge=16)] | None = None
    """Tokens read of question and review; None: as the model was trained."""
    score_scale: Annotated[float, Field(ge=0)] | None = None
    """The dense retriever's score times this is a review's log-odds beforehand; None: as the model
    was trained."""
    device: Device = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    threads: Positive | None = None
    min_support: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An answer that the reviews support less is withheld."""
    check_with_reader: bool = True
    """Whether what the reader finds counts for the support, too."""
    url: str | None = None
    """Of a server that speaks OpenAI's chat protocol; None: OpenAI's own."""
    api_key_env: str = "OPENAI_API_KEY"
    """Secrets are never settings: this is the name of an environment variable."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Further fields of the request to the server; one that is null is not sent."""

    @property
    def reader_is_prior(self) -> bool:
        """Whether the reader says which reviews to believe; a chat model has no prior."""
        return self.type == "rag" and self.prior == "reader"

    @property
    def retriever_is_prior(self) -> bool:
        """Whether the dense retriever's scores say so."""
        return self.type == "rag" and self.prior == "retriever"

    @model_validator(mode="after")
    def _chat_model_is_named(self) -> GeneratorSettings:
        if self.type == "chat" and "model" not in self.model_fields_set:
            raise ValueError("type chat needs a model, by the server's name for it")
        return self


OVERLAP_WORDS = 20


class PassageSettings(Strict):
    """How long reviews are embedded; they are kept, searched by words and read as a whole."""

    max_words: Positive | None = None
    """Words in a passage, each of which has an embedding; None: a review has one embedding."""
    overlap_words: Annotated[int, Field(ge=0)] = OVERLAP_WORDS
    """Words that two passages share; 20, or a third of a smaller `max_words`."""

    @model_validator(mode="before")
    @classmethod
    def _overlap_of_short_passages(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "overlap_words" not in given:
            longest = given.get("max_words")
            if isinstance(longest, int) and longest <= OVERLAP_WORDS:
                return {**given, "overlap_words": longest // 3}
        return given

    @model_validator(mode="after")
    def _overlap_is_shorter(self) -> PassageSettings:
        if self.max_words is not None and self.overlap_words >= self.max_words:
            raise ValueError(
                f"overlap_words ({self.overlap_words}) must be less than max_words "
                f"({self.max_words})"
            )
        return self


class IndexingSettings(Strict):
    """The batch job that fills a store."""

    sources: tuple[str, ...] = ()
    format: SourceFormat = "auto"
    columns: Mapping[
        Literal["review_id", "item_id", "text", "title", "stars", "date", "author"], str
    ] = Field(default_factory=dict)
    """Which column of the source holds what; others are found by the names that are known."""
    item: str | None = None
    """The item that all reviews are about, of sources that have no column for it."""
    encoding: str | None = None
    """Of CSV and JSON; None: detected."""
    types: Mapping[str, Literal["text", "number", "boolean", "date", "day_first_date"]] = Field(
        default_factory=dict
    )
    """Types of metadata columns, by their names in the store; the type of any other column is
    decided by its first 1,000 rows, and kept."""
    misfits: Misfits = "drop"
    """A value that does not fit its column's type is left out and counted, or its row is set
    aside."""
    batch_size: Positive | None = None
    """Reviews between two checkpoints; None: 512, and 2048 on a server, to which several requests
    are on their way at a time."""
    embed: bool = True
    sentences: bool = True
    """Whether reviews are divided into sentences, which are embedded and kept with them."""
    passages: PassageSettings = PassageSettings()
    max_text_chars: Positive = 100_000
    rejects: str | None = None
    """The reject file; None: `<job>.rejects.jsonl` in the state folder."""
    max_rejects: Annotated[int, Field(ge=0)] | None = None
    delete_missing: bool = False
    state: str | None = None
    """The folder of checkpoints; None: `jobs` beside the embedded store's files, and for a server
    `.qa-index/<host>-<port>-<index>` in the working folder."""

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, encoding: str | None) -> str | None:
        try:
            if encoding is None or codecs.lookup(encoding)._is_text_encoding:
                return encoding
        except (LookupError, ValueError):
            pass
        raise ValueError("there is no such encoding; utf-8, cp1252 and utf-16 are some")

    @model_validator(mode="after")
    def _item_is_said_once(self) -> IndexingSettings:
        if self.item is not None and not self.item.strip():
            raise ValueError("item is empty")
        if self.item is not None and "item_id" in self.columns:
            raise ValueError("item names the one item, and columns.item_id a column of items")
        return self


class Settings(Strict):
    """Everything that can be set."""

    seed: int = 13
    store: AnyStoreSettings = StoreSettings()
    encoder: EncoderSettings = EncoderSettings()
    retriever: RetrieverSettings = RetrieverSettings()
    ranker: RankerSettings = RankerSettings()
    judge: JudgeSettings = JudgeSettings()
    reader: ReaderSettings = ReaderSettings()
    answers: AnswersSettings = AnswersSettings()
    generator: GeneratorSettings = GeneratorSettings()
    indexing: IndexingSettings = IndexingSettings()
    serving: ServingSettings = ServingSettings()
