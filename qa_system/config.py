"""Settings: one strict tree, from defaults, a YAML file, the environment and flags, in that order.

Every fault is reported at once, each with its path. `configs/default.yaml` holds every key with
its default and what it means. An environment variable is named after the path of its key:
`QA_STORE__PATH` sets `store.path`.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from qa_system.errors import ConfigError
from qa_system.plain_yaml import MAX_CHARS, load_yaml

__all__ = [
    "AnyStoreSettings",
    "BulkWriteSettings",
    "ElasticsearchSettings",
    "EncoderSettings",
    "GeneratorSettings",
    "IndexingSettings",
    "PassageSettings",
    "RankerSettings",
    "ReaderSettings",
    "RetrieverSettings",
    "Settings",
    "StoreSettings",
    "Strict",
    "assign",
    "describe",
    "load_settings",
    "override_items",
    "read_yaml",
]

ENVIRONMENT_PREFIX = "QA_"

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Backend = Literal["auto", "onnx", "torch"]
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """A part of the settings: unknown keys are faults, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StoreSettings(Strict):
    """Where the reviews live: in a folder of this machine."""

    type: Literal["faiss"] = "faiss"
    path: str = "qa-store"
    similarity: Literal["dot_product", "cosine", "l2"] | None = None
    """None: the one that the encoder was trained with."""
    index: Literal["auto", "flat", "hnsw", "ivf_flat", "ivf_pq", "sq8"] = "auto"
    gpu: bool = False

    @property
    def place(self) -> str:
        """Where it is, in one word."""
        return self.path

    def named(self, name: str) -> StoreSettings:
        """Give the settings of a store like this one in another folder."""
        return self.model_copy(update={"path": name})


class BulkWriteSettings(Strict):
    """How much is written to a server at a time."""

    chunk_documents: Positive = 500
    chunk_bytes: Positive = 4_000_000
    workers: Positive = 2
    retry_for: Annotated[float, Field(ge=0)] = 300.0
    """Seconds for which a server that does not take a write is waited for."""


class ElasticsearchSettings(Strict):
    """Where the reviews live: on an Elasticsearch server."""

    type: Literal["elasticsearch"]
    url: str = "http://localhost:9200"
    """Of a cluster: several, separated by commas."""
    index: str = "reviews"
    similarity: Literal["dot_product", "cosine", "l2"] | None = None
    """None: the one that the encoder was trained with."""
    index_options: Literal["flat", "hnsw", "int8_hnsw"] = "flat"
    shards: Positive = 1
    replicas: Annotated[int, Field(ge=0)] = 1
    refresh_interval: str = "1s"
    api_key_env: str | None = None
    """Secrets are never settings: these are names of environment variables."""
    username_env: str | None = None
    password_env: str | None = None
    ca_certs_env: str | None = None
    verify_certs: bool = True
    timeout: Annotated[float, Field(gt=0)] = 30.0
    bulk: BulkWriteSettings = BulkWriteSettings()

    @property
    def place(self) -> str:
        """Where it is, in one word."""
        return f"{self.url}/{self.index}"

    def named(self, name: str) -> ElasticsearchSettings:
        """Give the settings of another index on the same server."""
        return self.model_copy(update={"index": name})


def _store_type(value: Any) -> str:
    """Tell which store is meant; the embedded one, where nothing says."""
    if isinstance(value, Mapping):
        return str(value.get("type", "faiss"))
    return str(getattr(value, "type", "faiss"))


AnyStoreSettings = Annotated[
    Annotated[StoreSettings, Tag("faiss")] | Annotated[ElasticsearchSettings, Tag("elasticsearch")],
    Discriminator(_store_type),
]


class EncoderSettings(Strict):
    """The model that turns questions and passages into vectors."""

    model: str = "bundled:encoder"
    question_model: str | None = None
    """A second tower for questions, as DPR has it; None: `model` encodes both."""
    backend: Backend = "auto"
    precision: Precision = "auto"
    device: str = "auto"
    max_seq_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens read of a text; None: the model's own (256 for DPR, as it was trained)."""
    batch_tokens: Positive | None = None
    """Padded tokens in one forward pass; None: what measured best for the device."""
    threads: Positive | None = None


class RetrieverSettings(Strict):
    """How reviews are found."""

    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    top_k: Positive = 10
    join: Literal["weighted_sum", "reciprocal_rank_fusion"] = "weighted_sum"
    bm25_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weighted sum: the share of BM25 in the joined score; the dense retriever has the rest."""


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
    device: str = "auto"
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
    device: str = "auto"
    max_seq_length: Annotated[int, Field(ge=16)] = 384
    stride: Annotated[int, Field(ge=0)] = 128
    max_answer_length: Positive = 40
    no_answer_threshold: float | None = None
    """Log-odds below which the reviews "don't say"; None: the one fitted with the model."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    batch_tokens: Positive | None = None
    threads: Positive | None = None
    snippet_chars: Positive = 160

    @model_validator(mode="after")
    def _stride_leaves_room(self) -> ReaderSettings:
        if self.stride >= self.max_seq_length // 2:
            raise ValueError("stride must be less than half of max_seq_length")
        return self


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
    device: str = "auto"
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

    @model_validator(mode="after")
    def _chat_model_is_named(self) -> GeneratorSettings:
        if self.type == "chat" and "model" not in self.model_fields_set:
            raise ValueError("type chat needs a model, by the server's name for it")
        return self


class PassageSettings(Strict):
    """How long reviews are embedded; they are kept, searched by words and read as a whole."""

    max_words: Positive | None = None
    """Words in a passage, each of which has an embedding; None: a review has one embedding."""
    overlap_words: Annotated[int, Field(ge=0)] = 20

    @model_validator(mode="after")
    def _overlap_is_shorter(self) -> PassageSettings:
        if self.max_words is not None and self.overlap_words >= self.max_words:
            raise ValueError("overlap_words must be less than max_words")
        return self


class IndexingSettings(Strict):
    """The batch job that fills a store."""

    sources: tuple[str, ...] = ()
    format: Literal["auto", "subjqa", "csv", "jsonl", "parquet"] = "auto"
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
    misfits: Literal["drop", "reject"] = "drop"
    """A value that does not fit its column's type is left out and counted, or its row is set
    aside."""
    batch_size: Positive | None = None
    """Reviews between two checkpoints; None: 512, and 2048 on a server, to which several requests
    are on their way at a time."""
    embed: bool = True
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
    reader: ReaderSettings = ReaderSettings()
    generator: GeneratorSettings = GeneratorSettings()
    indexing: IndexingSettings = IndexingSettings()


def load_settings(
    path: str | Path | None = None,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read settings; later sources win: defaults, file, environment, overrides.

    Args:
        path: a YAML file; None takes the defaults.
        overrides: `{"store.path": "x"}`, or `["store.path=x"]` with YAML values as on a
            command line. A None in the mapping means "not given" and is passed over. `store`
            alone is the store's name: its folder, or its index on the server.
        environ: the environment; None takes the process's.

    Raises:
        ConfigError: naming every unknown key and wrong value by its path.

    >>> load_settings(overrides=["retriever.top_k=3"], environ={}).retriever.top_k
    3
    """
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if path is not None:
        tree = read_yaml(Path(path))
    for key, text in (os.environ if environ is None else environ).items():
        if key.startswith(ENVIRONMENT_PREFIX) and "__" in key:
            dotted = key.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            assign(tree, dotted, _yaml_value(text, key))
            sources[dotted] = f"environment variable {key}"
    store: str | None = None
    for dotted, value in override_items(overrides):
        if dotted == "store" and not isinstance(value, Mapping):
            store = str(value)
            continue
        assign(tree, dotted, value)
        sources[dotted] = "command line"
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as fault:
        raise ConfigError(
            describe(fault, sources),
            where=None if path is None else str(path),
            remedy="configs/default.yaml lists every key with its meaning.",
        ) from None
    if store is None:
        return settings
    return settings.model_copy(update={"store": settings.store.named(store)})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of keys and values."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            loaded = load_yaml(file.read(MAX_CHARS + 1))
    except OSError as fault:
        raise ConfigError(
            f"cannot read the configuration: {fault.strerror or fault}",
            where=str(path),
            remedy="Name an existing YAML file, or none to run on the defaults.",
        ) from fault
    except ValueError as fault:
        raise ConfigError(
            f"the configuration is not YAML: {fault}", where=str(path), remedy="Mend the file."
        ) from fault
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"the configuration holds a {type(loaded).__name__}, not keys",
            where=str(path),
            remedy="Write `key: value` lines; configs/default.yaml shows them.",
        )
    return loaded


def override_items(overrides: Mapping[str, Any] | Iterable[str]) -> Iterable[tuple[str, Any]]:
    """Give the keys and values of a mapping, or of `KEY=VALUE` words as on a command line."""
    if isinstance(overrides, Mapping):
        yield from ((key, value) for key, value in overrides.items() if value is not None)
        return
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"{item!r} is not KEY=VALUE", remedy="Write for example retriever.top_k=5."
            )
        yield key, _yaml_value(text, key)


def _yaml_value(text: str, where: str) -> Any:
    try:
        return load_yaml(text)
    except ValueError as fault:
        raise ConfigError(f"{text!r:.80} is not a YAML value: {fault}", where=where) from fault


def assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value into a tree, at a path of keys with dots between them."""
    *parents, last = dotted.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = {}
            node[parent] = child
        node = child
    node[last] = value


def describe(fault: ValidationError, sources: Mapping[str, str]) -> str:
    """Say every fault of settings in one line, with the source of each value where it is known."""
    lines = []
    for error in fault.errors():
        place = list(error["loc"])
        if place[:1] == ["store"] and len(place) > 1:
            del place[1]  # the type of the store, which is no key
        dotted = ".".join(map(str, place)) or "settings"
        origin = f" [{sources[dotted]}]" if dotted in sources else ""
        if error["type"] == "union_tag_invalid":
            given, known = error["ctx"]["tag"], error["ctx"]["expected_tags"]
            lines.append(f"store.type: there is no {given!r}, but {known}{origin}")
        elif error["type"] == "extra_forbidden":
            lines.append(f"{dotted}: no such key{origin}")
        else:
            lines.append(f"{dotted}: {error['msg']}, got {error['input']!r:.200}{origin}")
    return "; ".join(lines)
