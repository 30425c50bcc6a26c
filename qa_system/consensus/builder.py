"""What the reviews say together, as a Haystack component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ExtractedAnswer

from qa_system.arguments import checked
from qa_system.config import AnswersSettings, JudgeSettings
from qa_system.consensus.candidates import (
    Marked,
    clauses_of,
    marked_in,
    mentions_in,
    of_surest_part,
    weighed_mentions,
)
from qa_system.consensus.confidence import Confidence
from qa_system.consensus.mentions import Mention, judged_mentions
from qa_system.consensus.points import FloatArray, groups_of, similarity, similarity_of_words
from qa_system.consensus.questions import is_polar, parts_of
from qa_system.consensus.stances import parted, statement_of
from qa_system.consensus.summary import Consensus, Grouped, Material, consensus_of
from qa_system.consensus.weighing import UNFITTED, Counting, Leaning
from qa_system.judging import Judge
from qa_system.opinions import Decision, Point, Verdict
from qa_system.retrievers.late_encoder import LateEncoder, section_of
from qa_system.stages import stage
from qa_system.stores.filters import selects_one_item

__all__ = ["ConsensusBuilder"]

DEFAULTS: Final = AnswersSettings()
SIMILAR_WORDS: Final = 0.5
"""The threshold of points where mentions are compared by their words."""


@component
@checked
class ConsensusBuilder:
    """Count what reviews say in answer to a question.

    Sentences that answer it are mentions, one a review; mentions that say the same are a point;
    a question that yes or no answers has a verdict. A judge says which sentences answer, and how;
    what the reader takes for an answer is a mention, too.

    Args:
        judge: the judge's settings, as a dictionary with the keys of `judge:` in the
            configuration; None takes the defaults (`bundled:judge`). With `sentences: 0` none is
            loaded: the reader's answers are the mentions, and there are no verdicts.
        encoder: likewise of `encoder:`; it says which mentions say the same.
        by_words: compare mentions by their words instead, without an encoder.
        min_reviews: reviews whose stance is decided that a verdict needs.
        mention: the probability from which on a sentence is a mention; None: as fitted with the
            pipeline, or 0.7.
        decided: the probability from which on a stance is decided; None: likewise.
        similarity: of mentions, on average, from which on they are one point.
        same_stance: what is added to it for two mentions that answer a polar question alike.
        snippet_chars: characters of the review to show around a quote.
        fitted: what confidences mean, as `Confidence.to_dict` returns it; it takes the place of the
            reader's threshold. None: they are the reader's own.
        counting: how mentions and stances are told, as `Counting.to_dict` returns it; with
            `fitted`, the surest sentence decides whether there is an answer, by all signals. None:
            as in `fitted`; if that has none, the reader decides, and a mention is told by the
            judge's probability alone.

    >>> reviews = [Document(id=f"r{n}", content=text, meta={"item_id": "lamp"}) for n, text in
    ...     enumerate(["Bright enough for reading. Blue.", "Far too dim to read by.", "Arrived."])]
    >>> found = ConsensusBuilder(mention=0.3).run("Is it bright enough to read by?", reviews)
    >>> found["mentions"], [point.support for point in found["points"]]
    (2, [1, 1])
    """

    def __init__(
        self,
        judge: dict[str, Any] | None = None,
        encoder: dict[str, Any] | None = None,
        by_words: bool = False,
        min_reviews: int = DEFAULTS.min_reviews,
        mention: float | None = DEFAULTS.mention,
        decided: float | None = DEFAULTS.decided,
        similarity: float = DEFAULTS.similarity,
        same_stance: float = DEFAULTS.same_stance,
        snippet_chars: int = 160,
        fitted: dict[str, Any] | None = None,
        counting: dict[str, Any] | None = None,
    ) -> None:
        self.judge = judge
        self.encoder = encoder
        self.by_words = by_words
        self.min_reviews = min_reviews
        self.mention = mention
        self.decided = decided
        self.similarity = similarity
        self.same_stance = same_stance
        self.snippet_chars = snippet_chars
        self.fitted = fitted
        self.counting = counting
        self._fitted = None if fitted is None else Confidence.from_dict(fitted)
        own = None if self._fitted is None else self._fitted.counting
        self._counting = own if counting is None else Counting.from_dict(counting)
        leaning = Leaning() if self._counting is None else self._counting.stances
        self._leaning = leaning if decided is None else replace(leaning, decided=decided)
        chosen = section_of(JudgeSettings, judge, "judge")
        self._sentences = chosen.sentences
        self._judge = Judge(**chosen.model_dump(exclude={"sentences"}))
        self._encoder = LateEncoder(encoder)

    def to_dict(self) -> dict[str, Any]:
        """Serialise every argument."""
        return default_to_dict(
            self,
            judge=self.judge,
            encoder=self.encoder,
            by_words=self.by_words,
            min_reviews=self.min_reviews,
            mention=self.mention,
            decided=self.decided,
            similarity=self.similarity,
            same_stance=self.same_stance,
            snippet_chars=self.snippet_chars,
            fitted=self.fitted,
            counting=self.counting,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ConsensusBuilder:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the judge and the encoder.

        Raises:
            ModelError: one of them cannot be loaded.
        """
        if self.is_judging:
            self._judge.warm_up()
        if not self.by_words:
            self._encoder.get()

    @property
    def is_judging(self) -> bool:
        """Whether sentences are judged."""
        return self._sentences > 0

    @property
    def threshold(self) -> float:
        """The probability from which on a sentence is a mention; 1 without a judge."""
        if not self.is_judging:
            return 1.0
        if self.mention is not None:
            return self.mention
        return UNFITTED if self._counting is None else self._counting.mentions.threshold

    @property
    def _deciding(self) -> Confidence | None:
        """What decides by all signals whether there is an answer; None: the reader does."""
        return self._fitted if self.is_judging and self._counting is not None else None

    def threshold_of_answers(self, own: float, *, of_parts: bool = False) -> float:
        """Return the confidence from which on there is an answer.

        Args:
            own: the reader's; what was fitted with the pipeline takes its place.
            of_parts: of the parts of a compound question: the reader does not read them, so that
                it is the threshold of a mention.
        """
        if self._fitted is None or (of_parts and self._deciding is None):
            return self.threshold if of_parts else own
        return self._fitted.probability(self.threshold if of_parts else self._fitted.threshold)

    def marked_in(
        self, documents: Sequence[Document], spans: Sequence[ExtractedAnswer], own: float = 0.0
    ) -> list[Marked]:
        """Return what the reader marked in documents.

        Where the reader decides whether there is an answer, its confidences are as they were
        fitted.

        Args:
            documents: of the question.
            spans: the reader's.
            own: the reader's threshold.
        """
        return marked_in(documents, spans, own, None if self._deciding else self._fitted)

    @component.output_types(points=list[Point], verdict=Verdict | None, mentions=int)
    def run(
        self,
        query: str,
        documents: list[Document],
        answers: list[ExtractedAnswer] | None = None,
        filters: dict[str, Any] | None = None,
        decision: Decision | None = None,
    ) -> dict[str, Any]:
        """Count what reviews say in answer to one question.

        Args:
            query: the question.
            documents: reviews as a `SentenceRetriever` returns them, or whole ones.
            answers: what the reader marked in them: its `candidates`, or its `answers` only.
            filters: by which they were retrieved; there is a verdict only if these select the
                reviews of one item, or if all reviews are of the same.
            decision: the reader's, whose threshold says which of the spans are answers; None: all.

        Returns:
            `points`, those of most reviews first; `verdict`, None where there is none;
            `mentions`, how many reviews speak of it.

        Raises:
            EmptyQuestionError: the question has no words.
            InvalidArgumentError: a document has text that UTF-8 cannot hold.
            ModelError: a model cannot be loaded.
        """
        own = 0.0 if decision is None else decision.threshold
        marked = self.marked_in(documents, answers or [], own)
        items = {document.meta.get("item_id") for document in documents}
        is_of_one = selects_one_item(filters) or (len(items) == 1 and None not in items)
        parts, is_read = self.parts_of(query), answers is not None
        least = self.threshold_of_answers(own) if is_read and len(parts) == 1 else None
        materials = [Material(part, documents, marked, least) for part in parts]
        [found] = self.build([(materials, is_of_one)])
        return {
            "points": list(found.points),
            "verdict": found.verdict,
            "mentions": found.mentions,
        }

    def parts_of(self, question: str) -> tuple[str, ...]:
        """Return the parts of a question; where nothing is judged, it is not divided.

        What the reader marks answers the whole question, and not which part of it.
        """
        return parts_of(question) if self.is_judging else (question,)

    def build(self, asked: Sequence[tuple[Sequence[Material], bool]]) -> list[Consensus]:
        """Build the consensus on several questions; their sentences are judged together.

        Args:
            asked: of each question the material of its parts, and whether it is about one item.

        Returns:
            One for each question, in order.
        """
        materials = list(chain.from_iterable(parts for parts, _ in asked))
        judged = self.judged(materials)
        surest = list(map(self._surest, materials, judged))
        clauses = of_surest_part(judged, [len(parts) for parts, _ in asked])
        with stage("consensus"):
            found = iter(self._grouped(materials, clauses, surest))
            return [
                consensus_of(
                    [next(found) for _ in parts],
                    self.min_reviews if self.is_judging else None,
                    self.snippet_chars,
                    is_of_one_item=is_of_one,
                    not_said=self._not_said,
                )
                for parts, is_of_one in asked
            ]

    def judged(self, materials: Sequence[Material]) -> list[list[Mention]]:
        """Return the sentences of each material that may be mentions, as they are judged."""
        clauses = [
            clauses_of(each.question, each.documents, each.marked, self._sentences)
            for each in materials
        ]
        if not self.is_judging:
            return clauses
        # What the question says of the item is judged with them, as the last text.
        judged = self._judge.judge(
            [each.question for each in materials],
            [
                [*(clause.text for clause in own), statement_of(each.question)]
                for each, own in zip(materials, clauses, strict=True)
            ],
        )
        found = []
        for each, own, of_all in zip(materials, clauses, judged, strict=True):
            of_own, said = parted(of_all)
            statement = said if is_polar(each.question) else None
            found.append(
                judged_mentions(
                    own,
                    of_own,
                    statement=statement,
                    said=statement_of(each.question),
                    leaning=self._leaning,
                    weighing=None if self._counting is None else self._counting.mentions,
                )
            )
        return found

    @property
    def _not_said(self) -> float:
        if self._counting is None:
            return 1.0
        if self._deciding is None or self._counting.not_said is None:
            return 0.0
        return self._deciding.probability(self._counting.not_said)

    def _grouped(
        self,
        materials: Sequence[Material],
        clauses: Sequence[Sequence[Mention]],
        surest: Sequence[float | None],
    ) -> list[Grouped]:
        """Return the points of several questions."""
        mentions = list(map(self._mentions, materials, clauses, surest))
        texts = [[mention.told for mention in own] for own in mentions]
        threshold = SIMILAR_WORDS if self.by_words else self.similarity
        return [
            Grouped(
                material,
                groups_of(own, alike, threshold, self.same_stance),
                best
                if self._deciding is None or best is None
                else self._deciding.probability(best),
                frozenset(each.review_id for each in judged if self.is_judging),
            )
            for material, own, alike, best, judged in zip(
                materials, mentions, self._alike(texts), surest, clauses, strict=True
            )
        ]

    def _mentions(
        self, material: Material, clauses: Sequence[Mention], surest: float | None
    ) -> list[Mention]:
        documents, marked = material.documents, material.marked
        if self._deciding is not None:
            is_part = material.reader_threshold is None
            least = self.threshold if is_part else self._deciding.threshold
            if surest is None or surest < least:
                return []
            threshold = min(self.threshold, surest)
            return weighed_mentions(clauses, documents, marked, threshold, self._deciding)
        return mentions_in(
            clauses,
            documents,
            marked,
            self.threshold,
            reader_threshold=material.reader_threshold,
            is_weighed=self._counting is not None,
        )

    def _surest(self, material: Material, clauses: Sequence[Mention]) -> float | None:
        """Return the highest confidence of what decides whether there is an answer.

        It is told before sentences are left to one part of a compound question: what answers two
        parts makes both of them answered.
        """
        is_judges = self._deciding is not None or material.reader_threshold is None
        told = (each.confidence for each in (clauses if is_judges else material.marked))
        return max(told, default=None)

    def _alike(self, texts: Sequence[Sequence[str]]) -> list[FloatArray]:
        if self.by_words:
            return [similarity_of_words(own) for own in texts]
        # Nothing is compared where there is one mention or none.
        compared = [own if len(own) > 1 else () for own in texts]
        together = list(chain.from_iterable(compared))
        if not together:
            return [np.ones((len(own), len(own))) for own in texts]
        embeddings = self._encoder.get().encode_passages(together, [None] * len(together))
        ends = np.cumsum([len(own) for own in compared])
        parts = np.split(embeddings, ends[:-1])
        return [
            similarity(part) if len(own) > 1 else np.ones((len(own), len(own)))
            for own, part in zip(texts, parts, strict=True)
        ]
