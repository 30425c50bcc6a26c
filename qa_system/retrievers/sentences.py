"""Retrieval of sentences over either store, as a Haystack component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.config import RetrieverSettings
from qa_system.retrievers.late_encoder import LateEncoder
from qa_system.stages import stage
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore
from qa_system.stores.joining import is_passage
from qa_system.stores.sentences import RankedSentence

__all__ = ["SentenceRetriever", "with_sentences"]

DEFAULTS = RetrieverSettings()


@component
@checked
class SentenceRetriever:
    """Retrieve the sentences that fit a question best, and the reviews that they are in.

    All sentences of the reviews that the filters select are scored: the share of the question's
    words that a sentence has, rare words weighing more, and the cosine of their embeddings (see
    `qa_system.stores.sentences.scoring`). The encoder is the one that filled the store; another
    one is refused.

    Args:
        document_store: the embedded store, or that on a server.
        encoder: the encoder's settings, as a dictionary with the keys of `encoder:` in the
            configuration; None takes the defaults (`bundled:encoder`).
        top_k: the best `top_k` sentences are retrieved, and the best `top_k` reviews with at
            least the best sentence of each.
        bm25_weight: share of the words in a score, from 0 to 1; the embedding has the rest. At 1
            no encoder is loaded.
        relevant: the score from which on a sentence makes its review count as considered.
        filters: Haystack filters, used where `run` is given none.

    >>> import tempfile
    >>> from qa_system.stores import FAISSDocumentStore
    >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
    ...     _ = store.write_documents([Document(id="r1", content="Red. The bass is very loud.")])
    ...     found = SentenceRetriever(store, bm25_weight=1.0).run("How is the bass?")
    ...     [document.meta["sentences"][0][:2] for document in found["documents"]]
    [[5, 27]]
    """

    def __init__(
        self,
        document_store: ReviewStore,
        encoder: dict[str, Any] | None = None,
        top_k: int = 50,
        bm25_weight: float = DEFAULTS.bm25_weight,
        relevant: float = DEFAULTS.relevant,
        filters: dict[str, Any] | None = None,
    ) -> None:
        self.document_store = document_store
        self.encoder = encoder
        self.top_k = top_k
        self.bm25_weight = bm25_weight
        self.relevant = relevant
        self.filters = filters
        self._encoder = LateEncoder(encoder, document_store.check_encoder)

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            encoder=self.encoder,
            top_k=self.top_k,
            bm25_weight=self.bm25_weight,
            relevant=self.relevant,
            filters=self.filters,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SentenceRetriever:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    def warm_up(self) -> None:
        """Load the encoder, if it is needed, and compare it with the one that filled the store.

        Raises:
            EncoderMismatchError: they are not the same.
            ModelError: the encoder cannot be loaded.
        """
        if self.bm25_weight < 1:
            self._encoder.get()

    @component.output_types(
        documents=list[Document],
        reviews=int,
        considered=int,
        all_considered=bool,
        generation=int | None,
    )
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, Any]:
        """Retrieve reviews with their best sentences.

        Args:
            query: the question.
            filters: take the place of the component's own.
            top_k: takes the place of the component's own.

        Returns:
            `documents`: reviews, best first; `score` is that of the best sentence, and
            `meta["sentences"]` lists `[start, end, score, before, after]` of those that were
            found, best first (see `RankedSentence`); `passage_start` and `passage_end` enclose
            the best one with its neighbours. `reviews`: how many the filters select.
            `considered`: how many of them have a sentence that scores at least `relevant`.
            `all_considered`: False if there were too many, and only those were looked into that
            the store's indexes find. `generation`: that of the embedded store; None on a server.
        """
        embedding = None
        if self.bm25_weight < 1:
            encoder = self._encoder.get()
            with stage("encode"):
                embedding = encoder.encode_questions([query])[0]
        with stage("sentences") as span:
            found = self.document_store.search_sentences(
                query,
                embedding,
                top_k=self.top_k if top_k is None else top_k,
                filters=self.filters if filters is None else filters,
                bm25_weight=self.bm25_weight,
                relevant=self.relevant,
            )
            span.set_tags(
                {
                    "qa_system.sentences.documents": len(found.documents),
                    "qa_system.sentences.considered": found.considered,
                    "qa_system.sentences.reviews": found.reviews,
                }
            )
        return {
            "documents": list(map(with_sentences, found.documents, found.sentences)),
            "reviews": found.reviews,
            "considered": found.considered,
            "all_considered": found.is_whole,
            "generation": found.generation,
        }


def with_sentences(document: Document, sentences: Sequence[RankedSentence]) -> Document:
    """Return a review that says which of its sentences were found, best first."""
    best = sentences[0]
    # A document of version 0.1 that is a passage says so by the same names.
    place = (
        {} if is_passage(document) else {"passage_start": best.before, "passage_end": best.after}
    )
    listed = [[one.start, one.end, one.score, one.before, one.after] for one in sentences]
    return replace(document, meta={**document.meta, **place, "sentences": listed})
