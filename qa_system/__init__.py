"""Question answering over customer reviews: retrieve, read, answer, with the reviews that say so.

The public names load what they need when they are first used, so that importing the package
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qa_system import telemetry

telemetry.turn_off()  # before a package is imported that would send some

if TYPE_CHECKING:
    from qa_system.config import Settings as Settings
    from qa_system.config import load_settings as load_settings
    from qa_system.consensus.builder import ConsensusBuilder as ConsensusBuilder
    from qa_system.digests.records import Aspect as Aspect
    from qa_system.digests.records import Digest as Digest
    from qa_system.errors import QASystemError as QASystemError
    from qa_system.evaluators import AnswerEMEvaluator as AnswerEMEvaluator
    from qa_system.evaluators import AnswerF1Evaluator as AnswerF1Evaluator
    from qa_system.generators.chat import ReviewChat as ReviewChat
    from qa_system.generators.rag import RAGGenerator as RAGGenerator
    from qa_system.generators.scoring import GeneratedAnswerScorer as GeneratedAnswerScorer
    from qa_system.judging.judge import Judge as Judge
    from qa_system.opinions.records import Point as Point
    from qa_system.opinions.records import Quote as Quote
    from qa_system.opinions.records import Verdict as Verdict
    from qa_system.readers.extractive import ExtractiveReader as ExtractiveReader
    from qa_system.records import Answer as Answer
    from qa_system.records import Answers as Answers
    from qa_system.records import AnswerSpan as AnswerSpan
    from qa_system.records import Label as Label
    from qa_system.records import Question as Question
    from qa_system.records import Review as Review
    from qa_system.retrievers.bm25 import BM25Retriever as BM25Retriever
    from qa_system.retrievers.dense import DenseRetriever as DenseRetriever
    from qa_system.retrievers.embedders import ReviewDocumentEmbedder as ReviewDocumentEmbedder
    from qa_system.retrievers.embedders import ReviewTextEmbedder as ReviewTextEmbedder
    from qa_system.retrievers.embedding import ReviewEmbeddingRetriever as ReviewEmbeddingRetriever
    from qa_system.retrievers.judged import JudgedSentenceRetriever as JudgedSentenceRetriever
    from qa_system.retrievers.sentences import SentenceRetriever as SentenceRetriever
    from qa_system.stores.elasticsearch import ElasticsearchReviewStore as ElasticsearchReviewStore
    from qa_system.stores.faiss import FAISSDocumentStore as FAISSDocumentStore
    from qa_system.system import QASystem as QASystem

_HOMES = {
    "Answer": "qa_system.records",
    "AnswerEMEvaluator": "qa_system.evaluators",
    "AnswerF1Evaluator": "qa_system.evaluators",
    "AnswerSpan": "qa_system.records",
    "Answers": "qa_system.records",
    "Aspect": "qa_system.digests.records",
    "BM25Retriever": "qa_system.retrievers.bm25",
    "ConsensusBuilder": "qa_system.consensus.builder",
    "DenseRetriever": "qa_system.retrievers.dense",
    "Digest": "qa_system.digests.records",
    "ElasticsearchReviewStore": "qa_system.stores.elasticsearch",
    "ExtractiveReader": "qa_system.readers.extractive",
    "FAISSDocumentStore": "qa_system.stores.faiss",
    "GeneratedAnswerScorer": "qa_system.generators.scoring",
    "Judge": "qa_system.judging.judge",
    "JudgedSentenceRetriever": "qa_system.retrievers.judged",
    "Label": "qa_system.records",
    "Point": "qa_system.opinions.records",
    "QASystem": "qa_system.system",
    "QASystemError": "qa_system.errors",
    "Question": "qa_system.records",
    "Quote": "qa_system.opinions.records",
    "RAGGenerator": "qa_system.generators.rag",
    "Review": "qa_system.records",
    "ReviewChat": "qa_system.generators.chat",
    "ReviewDocumentEmbedder": "qa_system.retrievers.embedders",
    "ReviewEmbeddingRetriever": "qa_system.retrievers.embedding",
    "ReviewTextEmbedder": "qa_system.retrievers.embedders",
    "SentenceRetriever": "qa_system.retrievers.sentences",
    "Settings": "qa_system.config.schema",
    "Verdict": "qa_system.opinions.records",
    "load_settings": "qa_system.config.loading",
}

__all__ = sorted(_HOMES)

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
