"""The component: a question in, the labels of the nearest labelled questions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from haystack import component, default_from_dict, default_to_dict

from qa_system.arguments import check_question, checked
from qa_system.errors import ModelError
from qa_system.nearest.kept import Labelled, load
from qa_system.nearest.votes import Neighbour, Vote, votes_of
from qa_system.retrievers.late_encoder import LateEncoder

__all__ = ["NearestLabels", "Prediction"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the nearest labelled questions say of a question.

    Args:
        labels: those that reach the threshold, the highest score first; none: no label does.
        votes: of all labels of the neighbours.
        neighbours: the k nearest, the most similar first.
    """

    labels: tuple[Vote, ...]
    votes: tuple[Vote, ...]
    neighbours: tuple[Neighbour, ...]


@component
@checked
class NearestLabels:
    """Label questions, or answer them, as the labelled questions that are nearest to them.

    Args:
        folder: as `qa train nearest` wrote it.
        encoder: settings of the encoder beside its model, as a dictionary with the keys of
            `encoder:` in the configuration (device, threads, ...); the model is the one that
            the labelled questions were embedded with.

    >>> from qa_system.nearest.examples import Example
    >>> from qa_system.nearest.fitting import fit
    >>> from qa_system.nearest.kept import save
    >>> folder = getfixture("tmp_path") / "nearest"
    >>> asked = [("Is it loud?", "noise"), ("How noisy is it?", "noise"), ("Is it big?", "size")]
    >>> save(fit([Example(text, (label,)) for text, label in asked], [], "aspect"), folder)
    >>> nearest = NearestLabels(str(folder))
    >>> [vote.label for vote in nearest.run("Does it make much noise?")["labels"]]
    ['noise']
    """

    def __init__(self, folder: str, encoder: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.encoder = encoder
        self._loading = Lock()
        self._labelled: Labelled | None = None
        self._late: LateEncoder | None = None

    def to_dict(self) -> dict[str, Any]:
        """Serialise every argument."""
        return default_to_dict(self, folder=self.folder, encoder=self.encoder)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearestLabels:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Read the labelled questions, and load their encoder.

        Raises:
            ConfigError: the encoder's settings are wrong.
            ModelError: the folder or the encoder cannot be read, or the encoder is another one.
        """
        self._ready()

    @property
    def labelled(self) -> Labelled:
        """The labelled questions."""
        return self._ready()[0]

    @component.output_types(labels=list[Vote], votes=list[Vote], neighbours=list[Neighbour])
    def run(self, query: str, item_id: str | None = None) -> dict[str, Any]:
        """Label one question.

        Args:
            query: the question.
            item_id: of answers, the item that it is about; None: answers about any item.

        Returns:
            `labels`, those that reach the threshold; `votes`, of all labels of the neighbours;
            `neighbours`, the nearest labelled questions.

        Raises:
            EmptyQuestionError: the question has no words.
            ModelError: as for `warm_up`.
        """
        [found] = self.predict([query], [item_id])
        return {
            "labels": list(found.labels),
            "votes": list(found.votes),
            "neighbours": list(found.neighbours),
        }

    def predict(
        self, questions: Sequence[str], about: Sequence[str | None] | None = None
    ) -> list[Prediction]:
        """Label several questions; they are embedded together.

        Args:
            questions: in plain words.
            about: the item of each question, as `item_id` in `run`.

        Raises:
            EmptyQuestionError: a question has no words.
            ModelError: as for `warm_up`.
        """
        for each in questions:
            check_question(each, "query")
        if not questions:
            return []
        labelled, late = self._ready()
        vectors = late.get().encode_questions(list(questions))
        chosen = labelled.chosen
        predictions = []
        for near in labelled.neighbours(vectors, chosen.k, about):
            votes = votes_of(near, chosen.k)
            given = [vote for vote in votes if vote.score >= chosen.threshold and vote.score > 0]
            kept = given[:1] if labelled.single else given
            predictions.append(Prediction(tuple(kept), tuple(votes), tuple(near)))
        return predictions

    def _ready(self) -> tuple[Labelled, LateEncoder]:
        with self._loading:
            if self._labelled is None or self._late is None:
                labelled = load(Path(self.folder))
                made_by = labelled.encoder
                named = {"model": made_by.model, "question_model": made_by.question_model}
                late = LateEncoder({**(self.encoder or {}), **named})
                identity = late.get().identity
                if (identity.question_hash or identity.weights_hash) != made_by.hash:
                    raise ModelError(
                        f"the encoder {made_by.model!r} is not the one that embedded the labelled "
                        "questions",
                        where=self.folder,
                        remedy="Fit them again: qa train nearest.",
                    )
                self._labelled, self._late = labelled, late
            return self._labelled, self._late
