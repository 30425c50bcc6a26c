"""Retrieval of sentences in two stages: the best of them are judged, and put in order anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.config import JudgeSettings, RetrieverSettings
from qa_system.judging import Judge
from qa_system.retrievers.late_encoder import section_of
from qa_system.retrievers.sentences import SentenceRetriever, with_sentences
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore
from qa_system.stores.sentences import RankedSentence
from qa_system.ties import tie_breaker

__all__ = ["JudgedSentenceRetriever"]

DEFAULTS = RetrieverSettings()
WEIGHT: Final = 0.3
"""Share of the judge in a score; fitted on labelled pairs that the judge was not trained on."""


@component
@checked
class JudgedSentenceRetriever:
    """Retrieve sentences as `SentenceRetriever` does, and have the best of them judged.

    The score of a sentence is the weighted sum of what it is there, and the probability that it
    answers the question. A sentence that is not among those that are judged counts as if it did
    not answer. It takes the arguments of `SentenceRetriever`, and:

    Args:
        judge: the judge's settings, as a dictionary with the keys of `judge:` in the
            configuration; None takes the defaults (`bundled:judge`, the best 64 sentences).

    Raises:
        ConfigError: the judge's settings are wrong.

    >>> import tempfile
    >>> from qa_system.stores import FAISSDocumentStore
    >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
    ...     text = "I love the sound. Very loud bass."
    ...     _ = store.write_documents([Document(id="r1", content=text)])
    ...     found = JudgedSentenceRetriever(store, bm25_weight=1.0).run("Is the bass loud?")
    ...     [document.meta["sentences"][0][:2] for document in found["documents"]]
    [[18, 33]]
    """

    def __init__(
        self,
        document_store: ReviewStore,
        encoder: dict[str, Any] | None = None,
        judge: dict[str, Any] | None = None,
        top_k: int = 50,
        bm25_weight: float = DEFAULTS.bm25_weight,
        relevant: float = DEFAULTS.relevant,
        filters: dict[str, Any] | None = None,
    ) -> None:
        self.document_store = document_store
        self.encoder = encoder
        self.judge = judge
        self.top_k = top_k
        self.bm25_weight = bm25_weight
        self.relevant = relevant
        self.filters = filters
        self._sentences = SentenceRetriever(
            document_store, encoder, top_k, bm25_weight, relevant, filters
        )
        settings = section_of(JudgeSettings, judge, "judge")
        self._judged = settings.sentences
        self._judge = Judge(**settings.model_dump(exclude={"sentences"}))

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            encoder=self.encoder,
            judge=self.judge,
            top_k=self.top_k,
            bm25_weight=self.bm25_weight,
            relevant=self.relevant,
            filters=self.filters,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JudgedSentenceRetriever:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    def warm_up(self) -> None:
        """Load the encoder, if it is needed, and the judge.

        Raises:
            EncoderMismatchError: the encoder is not the one that filled the store.
            ModelError: a model cannot be loaded.
        """
        self._sentences.warm_up()
        self._judge.warm_up()

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
        """Retrieve reviews with their best sentences; see `SentenceRetriever.run`.

        Args:
            query: the question.
            filters: take the place of the component's own.
            top_k: takes the place of the component's own.

        Raises:
            ModelError: the judge cannot be loaded, or computes NaN or infinity.
        """
        wanted = self.top_k if top_k is None else top_k
        found = self._sentences.run(query, filters, max(wanted, self._judged))
        documents = self._ordered(query, found["documents"], wanted)
        return {**found, "documents": documents}

    def _ordered(self, query: str, documents: Sequence[Document], top_k: int) -> list[Document]:
        sentences = [
            (place, RankedSentence(*entry))
            for place, document in enumerate(documents)
            for entry in document.meta["sentences"]
        ]
        sentences.sort(key=lambda each: -each[1].score)  # stable: equals stay in the store's order
        texts = [
            (documents[place].content or "")[one.start : one.end]
            for place, one in sentences[: self._judged]
        ]
        [judged] = self._judge.judge([query], [texts])
        answers = [*judged.answers.tolist(), *[0.0] * (len(sentences) - len(texts))]
        scored = [
            (place, replace(one, score=(1 - WEIGHT) * one.score + WEIGHT * answer))
            for (place, one), answer in zip(sentences, answers, strict=True)
        ]
        return _best(documents, scored, top_k)


def _best(
    documents: Sequence[Document], scored: Sequence[tuple[int, RankedSentence]], top_k: int
) -> list[Document]:
    """Return the best reviews with their sentences among the best; see `SentenceRetriever`."""
    keys = [tie_breaker(document.id) for document in documents]
    ordered = sorted(scored, key=lambda each: (-each[1].score, keys[each[0]], each[1].start))
    kept: dict[int, list[RankedSentence]] = {}
    for number, (place, one) in enumerate(ordered):
        if place not in kept and len(kept) == top_k:
            continue
        if place not in kept or number < top_k:
            kept.setdefault(place, []).append(one)
    return [
        with_sentences(replace(documents[place], score=found[0].score), found)
        for place, found in kept.items()
    ]
