"""Embedders for pipelines of one's own: documents and questions with embeddings, as components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.retrievers.late_encoder import LateEncoder
from qa_system.stages import stage
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore

__all__ = ["ReviewDocumentEmbedder", "ReviewTextEmbedder"]


@component
@checked
class ReviewDocumentEmbedder:
    """Embed documents, so that a `DocumentWriter` can write them into a store.

    A document has one embedding, of as much of its text as the encoder reads; `qa-index` splits
    long reviews into passages. Components with the same encoder have one copy of it in memory.

    Args:
        encoder: the encoder's settings, as a dictionary with the keys of `encoder:` in the
            configuration; None takes the defaults (`bundled:encoder`).
        document_store: the store that the documents go to. It records the encoder before the
            first document is embedded, and refuses another one from then on. None: nothing is
            recorded.

    >>> embedder = ReviewDocumentEmbedder()
    >>> [document] = embedder.run([Document(content="Bright enough for reading.")])["documents"]
    >>> len(document.embedding)
    384
    """

    def __init__(
        self, encoder: dict[str, Any] | None = None, document_store: ReviewStore | None = None
    ) -> None:
        self.encoder = encoder
        self.document_store = document_store
        self._encoder = LateEncoder(
            encoder, None if document_store is None else document_store.bind_encoder
        )

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        store = None if self.document_store is None else self.document_store.to_dict()
        return default_to_dict(self, encoder=self.encoder, document_store=store)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ReviewDocumentEmbedder:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    def warm_up(self) -> None:
        """Load the encoder, and let the store record it.

        Raises:
            EncoderMismatchError: the store was filled by another encoder.
            ModelError: the encoder cannot be loaded.
        """
        self._encoder.get()

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return copies of the documents with their embeddings, in the same order.

        Args:
            documents: a document without text gets no embedding. Where the encoder's settings
                say `embed_title`, `meta["title"]` is read with the text.
        """
        encoder = self._encoder.get()
        places = [at for at, each in enumerate(documents) if (each.content or "").strip()]
        readable = [documents[at] for at in places]
        with stage("encode"):
            vectors = encoder.encode_passages(
                [document.content or "" for document in readable],
                _titles(readable) if encoder.embed_title else None,
            )
        embedded = list(documents)
        for at, vector in zip(places, vectors.tolist(), strict=True):
            embedded[at] = replace(documents[at], embedding=vector)
        return {"documents": embedded}


@component
@checked
class ReviewTextEmbedder:
    """Embed a question, for a retriever that takes `query_embedding`.

    Args:
        encoder: as in `ReviewDocumentEmbedder`. With DPR, `question_model` names the encoder of
            questions.

    >>> len(ReviewTextEmbedder().run("Is it bright enough?")["embedding"])
    384
    """

    def __init__(self, encoder: dict[str, Any] | None = None) -> None:
        self.encoder = encoder
        self._encoder = LateEncoder(encoder)

    def to_dict(self) -> dict[str, Any]:
        """Serialise the encoder's settings."""
        return default_to_dict(self, encoder=self.encoder)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ReviewTextEmbedder:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the encoder.

        Raises:
            ModelError: it cannot be loaded.
        """
        self._encoder.get()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Return the question's embedding.

        Args:
            text: the question.

        Raises:
            ModelError: the model encodes passages only.
        """
        encoder = self._encoder.get()
        with stage("encode"):
            [vector] = encoder.encode_questions([text]).tolist()
        return {"embedding": vector}


def _titles(documents: Sequence[Document]) -> list[str | None]:
    titles = [document.meta.get("title") for document in documents]
    return [str(title) if title else None for title in titles]
