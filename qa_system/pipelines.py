"""Build Haystack pipelines from settings.

Every pipeline takes `query` and, where it retrieves, `filters`; Haystack passes flat inputs to all
components that have such a socket: `pipeline.run({"query": ..., "filters": ...})`. The component
that returns the retrieved documents is called `retriever`, or `ranker` if the settings name one
(`last`). The other components are called `reader` and `generator`.
Pipelines dump to YAML and load back (`Pipeline.dumps`, `load`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haystack import Pipeline
from haystack.core.serialization import allow_deserialization_module

from qa_system.config import RankerSettings, Settings, changed
from qa_system.errors import MissingDependencyError
from qa_system.generators.evidence import EvidenceSelector
from qa_system.retrievers.registry import mode_of

if TYPE_CHECKING:
    from qa_system.consensus.builder import ConsensusBuilder
    from qa_system.generators.chat import ReviewChat
    from qa_system.generators.rag import RAGGenerator
    from qa_system.rankers.cross_encoder import CrossEncoderRanker
    from qa_system.rankers.reader_ranker import ReaderRanker
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.stores.contract import ReviewStore

__all__ = [
    "build_consensus",
    "build_generator",
    "build_reader",
    "consensus",
    "dense",
    "extract",
    "generate",
    "last",
    "load",
    "reader_ranks",
    "reads_sentences",
    "retrieve",
    "to_read",
]

OF_RAG = {
    "device",
    "length_penalty",
    "max_length",
    "max_source_length",
    "mode",
    "model",
    "num_beams",
    "precision",
    "score_scale",
    "template",
    "thorough",
    "threads",
}
"""The generator's settings that are arguments of `RAGGenerator`."""

SHARE_OF_WORDS: Final[Mapping[str, float | None]] = {
    "bm25": 1.0,
    "dense": 0.0,
    "hybrid": None,
    "sentences": None,
    "judged": None,
}
"""How much the words count when a mode's retriever scores sentences; None: as the settings say."""
SENTENCES: Final = 50
"""Sentences that are retrieved for the reader at least."""
TOKENS_OF_SENTENCE: Final = 10
"""Fewer than a sentence costs with its neighbours and the question: more are retrieved than the
budget holds."""

allow_deserialization_module("qa_system.*")


def retrieve(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents: the retriever of `retriever.mode`, then the ranker, if any.

    Args:
        store: the embedded store, or one on a server.
        settings: `retriever`, `encoder` and `ranker` are used.

    Returns:
        A pipeline whose component `last(settings)` returns `documents`, best first.

    Raises:
        ConfigError: no retriever has that mode's name.
        MissingDependencyError: the ranker is a cross-encoder, and sentence-transformers or its
            Haystack integration is not installed.
        ModelError: the ranker's device is missing.

    >>> from qa_system.stores import FAISSDocumentStore
    >>> pipeline = retrieve(FAISSDocumentStore("never-opened"), Settings())
    >>> sorted(pipeline.graph.nodes)
    ['bm25', 'dense', 'retriever']
    """
    pipeline = Pipeline()
    ranker = settings.ranker
    if ranker.type == "none":
        mode_of(settings).add(pipeline, store, settings)
        return pipeline
    mode_of(settings).add(pipeline, store, _retrieving(settings, _candidates(settings)))
    pipeline.add_component("ranker", _build_ranker(settings))
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def extract(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents -> answers by the extractive reader.

    Returns:
        The pipeline of `retrieve(store, to_read(settings))`, followed by a component `reader`
        that returns `answers`, `candidates`, `no_answer_probability` and `decision`.

    Raises:
        QASystemError: as in `retrieve`.
    """
    found = to_read(settings)
    pipeline = retrieve(store, found)
    pipeline.add_component("reader", build_reader(settings))
    pipeline.connect(f"{last(found)}.documents", "reader.documents")
    return pipeline


def consensus(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents -> answers -> what the reviews say together.

    Returns:
        The pipeline of `extract(store, settings)`, followed by a component `consensus` that
        returns `points`, `verdict` and `mentions`.

    Raises:
        QASystemError: as in `retrieve`.
    """
    pipeline = extract(store, settings)
    pipeline.add_component("consensus", build_consensus(settings))
    pipeline.connect(f"{last(to_read(settings))}.documents", "consensus.documents")
    pipeline.connect("reader.candidates", "consensus.answers")
    pipeline.connect("reader.decision", "consensus.decision")
    return pipeline


def generate(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents -> generated answers.

    Returns:
        The pipeline of `retrieve(store, settings)`, followed by a component `evidence`, which
        selects the best documents and their scores from the dense retriever, and a component
        `generator` that returns `answers`. Unlike `QASystem`, it does not compare the answers
        with the reviews.

    Raises:
        QASystemError: as in `retrieve`.
    """
    pipeline = retrieve(store, settings)
    pipeline.add_component("evidence", EvidenceSelector(settings.generator.documents))
    pipeline.connect(f"{last(settings)}.documents", "evidence.documents")
    if (scorer := dense(settings)) is not None:
        pipeline.connect(f"{scorer}.documents", "evidence.scored")
    pipeline.add_component("generator", build_generator(settings))
    pipeline.connect("evidence.documents", "generator.documents")
    return pipeline


def last(settings: Settings) -> str:
    """Return the name of the component of `retrieve` that returns the documents.

    >>> last(Settings())
    'retriever'
    """
    return "retriever" if settings.ranker.type == "none" else "ranker"


def dense(settings: Settings) -> str | None:
    """Return the name of the component of `retrieve` that scores by embeddings, if any.

    >>> dense(Settings())
    'dense'
    """
    return mode_of(settings).scorer


def reader_ranks(settings: Settings) -> bool:
    """Tell whether the ranker is the reader itself."""
    return settings.ranker.type == "reader" and settings.ranker.model is None


def reads_sentences(settings: Settings) -> bool:
    """Tell whether the reader reads the best sentences of all reviews, not the best reviews whole.

    Where a ranker or a retriever of another package puts reviews in order, those are read whole.

    >>> from qa_system.config import changed
    >>> reads_sentences(Settings()), reads_sentences(changed(Settings(), {"ranker.type": "reader"}))
    (True, False)
    """
    return (
        settings.reader.evidence == "sentences"
        and settings.ranker.type == "none"
        and settings.retriever.mode in SHARE_OF_WORDS
    )


def to_read(settings: Settings) -> Settings:
    """Return the settings for retrieving the documents that the reader reads.

    Of reviews with their best sentences there are as many as a budget could need. If the reader is
    also the ranker, the documents are not ranked first, because everything would be read twice:
    the reader reads all the candidates, and its answers come out best first.
    """
    if reads_sentences(settings):
        chosen = settings.retriever
        share = SHARE_OF_WORDS[chosen.mode]
        return changed(
            settings,
            {
                "retriever.mode": "judged" if chosen.mode == "judged" else "sentences",
                "retriever.top_k": max(
                    SENTENCES, chosen.top_k, settings.reader.budget // TOKENS_OF_SENTENCE
                ),
                "retriever.bm25_weight": chosen.bm25_weight if share is None else share,
            },
        )
    if not reader_ranks(settings):
        return settings
    found = _retrieving(settings, _candidates(settings))
    return found.model_copy(update={"ranker": RankerSettings()})


def load(text: str) -> Pipeline:
    """Load a pipeline that `Pipeline.dumps` wrote; this project's components are allowed."""
    return Pipeline.loads(text)


def build_reader(settings: Settings) -> ExtractiveReader:
    """Build the extractive reader that the settings describe."""
    from qa_system.readers.extractive import ExtractiveReader

    return ExtractiveReader(**settings.reader.model_dump())


def build_consensus(settings: Settings) -> ConsensusBuilder:
    """Build the component that counts what the reviews say, as the settings describe it.

    Where reviews are found by words alone, mentions are compared by words, too: no encoder is
    loaded.

    Raises:
        ConfigError: `answers.max_error` cannot be kept.
        ModelError: the file of confidences is damaged, or a model cannot be found.
    """
    from qa_system.consensus.builder import ConsensusBuilder
    from qa_system.consensus.confidence import confidence_of, counting_of

    is_of_sentences = reads_sentences(settings)
    fitted = confidence_of(settings, reads_sentences=is_of_sentences)
    counting = counting_of(settings, reads_sentences=is_of_sentences)
    return ConsensusBuilder(
        judge=settings.judge.model_dump(),
        encoder=settings.encoder.model_dump(),
        by_words=SHARE_OF_WORDS.get(settings.retriever.mode) == 1,
        snippet_chars=settings.reader.snippet_chars,
        fitted=None if fitted is None else replace(fitted, outcomes=()).to_dict(),
        counting=None if counting is None else counting.to_dict(),
        **settings.answers.model_dump(exclude={"confidence", "max_error"}),
    )


def build_generator(settings: Settings) -> RAGGenerator | ReviewChat:
    """Build the generator that the settings describe."""
    chosen = settings.generator
    if chosen.type == "chat":
        from qa_system.generators.chat import review_chat

        return review_chat(
            chosen.model,
            url=chosen.url,
            api_key_env=chosen.api_key_env,
            timeout=chosen.timeout,
            max_length=chosen.max_length,
            options=chosen.options,
        )
    from qa_system.generators.rag import RAGGenerator

    return RAGGenerator(**chosen.model_dump(include=OF_RAG))


def _retrieving(settings: Settings, top_k: int) -> Settings:
    retriever = settings.retriever.model_copy(update={"top_k": top_k})
    return settings.model_copy(update={"retriever": retriever})


def _candidates(settings: Settings) -> int:
    return max(settings.ranker.candidates, settings.retriever.top_k)


def _build_ranker(settings: Settings) -> ReaderRanker | CrossEncoderRanker:
    chosen, top_k = settings.ranker, settings.retriever.top_k
    if chosen.type == "reader":
        from qa_system.rankers.reader_ranker import ReaderRanker

        if chosen.model is not None:
            another = {"model": chosen.model, "device": chosen.device}
            another |= {"backend": "auto", "precision": "auto"}
            reader = settings.reader.model_copy(update=another)
            settings = settings.model_copy(update={"reader": reader})
        return ReaderRanker(build_reader(settings), top_k, chosen.prior)
    try:
        from qa_system.rankers.cross_encoder import rank_by
    except ImportError as error:
        raise MissingDependencyError(
            f"a cross-encoder needs the package {error.name!r}",
            remedy="Install it: pip install 'qa-system[torch]'.",
        ) from error
    return rank_by(str(chosen.model), device=chosen.device, top_k=top_k)
