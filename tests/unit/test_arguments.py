"""Every public method that takes a text, an id, a number or a filter refuses what is none."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack import Document

from qa_system.arguments import COUNTS, NAMES, check_question
from qa_system.aspects.digesting import Digester
from qa_system.config import Settings, load_settings
from qa_system.consensus.builder import ConsensusBuilder
from qa_system.errors import EmptyQuestionError, InvalidArgumentError
from qa_system.generators.chat import ReviewChat
from qa_system.generators.evidence import EvidenceSelector
from qa_system.generators.rag import RAGGenerator
from qa_system.generators.scoring import GeneratedAnswerScorer
from qa_system.rankers.reader_ranker import ReaderRanker
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.embedders import ReviewDocumentEmbedder
from qa_system.retrievers.judged import JudgedSentenceRetriever
from qa_system.retrievers.sentences import SentenceRetriever
from qa_system.stores import open_store
from qa_system.stores.elasticsearch import ElasticsearchReviewStore
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.system import QASystem

HALF = "b\udce9ttery"
"""What a terminal makes of bytes that are not UTF-8."""
BROKEN = Document(id="r1", content=f"The {HALF} is bright.")
CLASSES: list[type] = [
    QASystem,
    FAISSDocumentStore,
    ElasticsearchReviewStore,
    BM25Retriever,
    DenseRetriever,
    JudgedSentenceRetriever,
    SentenceRetriever,
    ReaderRanker,
    ExtractiveReader,
    RAGGenerator,
    ReviewChat,
    EvidenceSelector,
    GeneratedAnswerScorer,
    ConsensusBuilder,
    Digester,
    ReviewDocumentEmbedder,
]
TEXTS = ("item_id", "metadata_field", "query", "question", "search_term", "split")
LISTS = ("document_ids", "item_ids", "metadata_fields", "review_ids", "stale_ids")
WRONG: dict[str, list[Any]] = {
    **{key: [5, object()] for key in NAMES},
    **{
        key: [5, 1.5, True, b"text", ["text"], HALF]
        for key in ("item_id", "metadata_field", "query", "question", "search_term", "split")
    },
    **{
        key: [5, "text", [5], [None], ["fine", HALF], None]
        for key in ("document_ids", "item_ids", "metadata_fields", "review_ids", "stale_ids")
    },
    **{name: [-1, least - 1, 1.5, True, "5", 2**31] for name, least in COUNTS.items()},
    "bm25_weight": [-0.1, float("nan"), True, "0.5", 1.5],
    "relevant": [-0.1, float("nan"), float("inf"), True, "0.5"],
    "decided": [-0.1, float("nan"), 1.5],
    "mention": [-0.1, float("nan"), 1.5],
    "min_reviews": [0, 1.5],
    "same_stance": [-0.1, float("nan"), float("inf")],
    "filters": [{"field": HALF}, {"conditions": [{"value": ["fine", {HALF: 1}]}]}],
    "documents": [None, "text", Document(content="x"), [BROKEN], [[BROKEN]]],
    "labels": [None, 5],
}
CHECKED_ELSEWHERE = {
    # by the store, in its own words: an embedding, an encoder, what a version is made with
    *(
        "embedding",
        "embeddings",
        "encoder",
        "judge",
        "identity",
        "passages",
        "digest",
        "built",
        "expected",
        "resume",
    ),
    *("sentences", "evidence"),
    # in __init__, where they are settings, and of components
    *("api_key_env", "backend", "bulk", "ca_certs_env", "chat_generator", "device"),
    *("document_store", "embedding_dim", "gpu", "index", "index_options", "length_penalty"),
    *("mode", "model", "no_answer_threshold", "password_env", "precision", "prior"),
    *("reader", "refresh_interval", "replicas", "score_scale", "settings", "shards"),
    *("similarity", "temperature", "template", "thorough", "timeout", "url", "username_env"),
    "verify_certs",
    # together, by `refuse_unpaired` and `questions_of`; what a caller is told by; Haystack's own
    *("questions", "scored", "on_progress", "data", "values"),
    # of the consensus and of digests: parts that a pipeline or a job puts together
    *("answers", "asked", "by_words", "catalogue", "counting", "decision", "embed", "extracted"),
    *("fitted", "generation", "materials", "of_parts", "own", "spans"),
    # of what `with` passes
    *("kind", "error", "trace", "traceback"),
}


def methods() -> list[tuple[type, str, Callable[..., Any]]]:
    return [
        (cls, name, method)
        for cls in CLASSES
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if (not name.startswith("_") or name == "__init__") and not name.endswith("_async")
    ]


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(method).parameters.values() if each.name != "self"]


def test_every_argument_is_checked_or_known_not_to_be() -> None:
    names = {each.name for _, _, method in methods() for each in parameters(method)}
    assert names - set(NAMES) - CHECKED_ELSEWHERE == set()
    assert len(methods()) > 60


@pytest.mark.parametrize(
    ("cls", "name", "argument"),
    [
        pytest.param(cls, name, each, id=f"{cls.__name__}.{name}-{each.name}")
        for cls, name, method in methods()
        for each in parameters(method)
        # `questions` and `documents` of several questions belong together.
        if each.name in NAMES
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_done(
    cls: type, name: str, argument: inspect.Parameter
) -> None:
    # The object is not made: whatever a method did would fail for want of it.
    method = getattr(cls, name)
    wrong = list(WRONG[argument.name])
    if argument.default is not None:
        wrong.append(None)
    for value in wrong:
        with pytest.raises(InvalidArgumentError, match=argument.name) as caught:
            method(object.__new__(cls), **{argument.name: value})
        assert caught.value.exit_code == 2
        str(caught.value).encode()  # it can be printed


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.search_bm25_async(HALF),
        lambda store: store.search_by_embedding_async([1.0], top_k=0),
        lambda store: store.delete_documents_async("r1"),
        lambda store: store.get_metadata_field_unique_values_async("stars", from_=-1),
        lambda store: store.count_documents_by_filter_async(None),
    ],
)
def test_the_async_variants_refuse_the_same(
    call: Callable[[FAISSDocumentStore], Any], tmp_path: Path
) -> None:
    with FAISSDocumentStore(tmp_path / "store") as store, pytest.raises(InvalidArgumentError):
        asyncio.run(call(store))


@pytest.mark.parametrize("cls", [FAISSDocumentStore, ElasticsearchReviewStore])
@pytest.mark.parametrize("wrong", [None, 5, "bundled:encoder", object()])
def test_what_is_no_encoder_is_refused(cls: type, wrong: object) -> None:
    with pytest.raises(InvalidArgumentError, match="not an encoder"):
        cls.update_embeddings(object.__new__(cls), wrong)  # type: ignore[attr-defined]
    for bind in ("bind_encoder", "check_encoder"):
        with pytest.raises(InvalidArgumentError, match="not an EncoderIdentity"):
            getattr(cls, bind)(object.__new__(cls), wrong)


def test_positions_count_as_names() -> None:
    with pytest.raises(InvalidArgumentError, match="top_k is 0"):
        FAISSDocumentStore.search_bm25(object.__new__(FAISSDocumentStore), "bright", 0)


@pytest.mark.parametrize("reads", ["reader", "generator", "ranker"])
def test_what_reads_refuses_a_question_that_is_none(reads: str) -> None:
    reader = ExtractiveReader()
    asked = {"reader": reader, "generator": RAGGenerator(), "ranker": ReaderRanker(reader)}[reads]
    document = Document(content="Bright.")
    with pytest.raises(EmptyQuestionError):
        asked.run("?!", [document])
    with pytest.raises(InvalidArgumentError, match=r"question 2|questions"):
        reader.read(["Bright?", HALF], [[document], [document]])
    with pytest.raises(InvalidArgumentError, match="documents of question 2"):
        reader.read(["Bright?", "Loud?"], [[document], None])  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match="2 questions came with 1"):
        reader.read(["Bright?", "Loud?"], [[document]])


@pytest.mark.parametrize("text", ["बैटरी?", "电池?", "Ü", "7"])
def test_words_of_any_script_are_a_question(text: str) -> None:
    check_question(text)


def test_the_message_spells_half_a_character() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'b\\udce9ttery'.* character 2 is half"):
        check_question(HALF)


@pytest.mark.parametrize("wrong", [5, b"settings.yaml", ["settings.yaml"], object()])
@pytest.mark.parametrize(
    "opened", [QASystem, QASystem.open, load_settings, open_store, FAISSDocumentStore]
)
def test_what_opens_refuses_what_is_no_path_or_settings(
    opened: Callable[[Any], Any], wrong: object
) -> None:
    with pytest.raises(InvalidArgumentError):
        opened(wrong)


def test_the_settings_of_everything_are_not_those_of_a_store() -> None:
    with pytest.raises(InvalidArgumentError, match=r"load_settings\(\)\.store"):
        open_store(Settings())  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [5, "seed=3", [5], [("seed",)], {5: "x"}], ids=repr)
def test_overrides_of_a_wrong_type_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="override"):
        load_settings(overrides=wrong)
