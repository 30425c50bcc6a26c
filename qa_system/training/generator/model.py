"""A generator in training: with its question encoder, from exercises to a loss, and measured.

Importing this module imports torch, transformers and, with a question encoder,
sentence-transformers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from qa_system.errors import ModelError, QuestionTooLongError
from qa_system.generators.beams import BeamSearch, sequence_beams, token_beams
from qa_system.generators.seq2seq import Mode, Seq2Seq
from qa_system.inference import IntArray
from qa_system.metrics import exact_match, f1
from qa_system.retrievers.encoders import Encoder
from qa_system.training.generator.examples import Exercise
from qa_system.training.generator.loss import Batch, Lesson, collate, gold_log_probs, rag_loss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Learner", "Trial", "Weighing", "answer_f1", "lessons_of", "set_dropout", "trials_of"]

QUESTIONS_AT_ONCE = 32
"""In a measurement; it changes no result."""


class Learner(nn.Module):
    """A generator, and the question encoder that learns beside it, as one model to train.

    Args:
        seq2seq: the generator, with all that belongs to it.
        mode: which of RAG's losses.
        label_smoothing: see `rag_loss`.
        weighing: how likely a text is beforehand; None: all of a question's alike.
    """

    def __init__(
        self,
        seq2seq: Seq2Seq,
        *,
        mode: Mode,
        label_smoothing: float = 0.0,
        weighing: Weighing | None = None,
    ) -> None:
        super().__init__()
        self.generator: nn.Module = seq2seq.model
        self.question_encoder = None if weighing is None else weighing.tower
        self.seq2seq = seq2seq
        self.mode: Mode = mode
        self._label_smoothing = label_smoothing
        self._weighing = weighing
        first: dict[int, str] = {}
        self._tied: dict[str, str] = {}
        for name, weight in self.named_parameters(remove_duplicate=False):
            if first.setdefault(id(weight), name) != name:
                self._tied[name] = first[id(weight)]
        # safetensors writes no weight under two names.
        self.register_state_dict_post_hook(_without_tied)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_tied)  # type: ignore[no-untyped-call]

    def forward(self, batch: Batch) -> Tensor:
        """Give the loss of what `collate` made."""
        told = gold_log_probs(self.generator, batch)
        return rag_loss(told, self.scores(batch), batch, self.mode, self._label_smoothing)

    def scores(self, batch: Batch) -> Tensor:
        """Give the logits of p(z|x), shape (lessons, documents)."""
        if self._weighing is None or self.question_encoder is None:
            return batch["scores"]
        features = {"input_ids": batch["question_ids"], "attention_mask": batch["question_mask"]}
        questions = self.question_encoder(features)["sentence_embedding"].float()
        if self._weighing.is_cosine:
            questions = functional.normalize(questions, dim=-1)
        # As a sum, because a matrix product would be taken in bf16.
        similarity = (questions.unsqueeze(1) * batch["passages"]).sum(-1)
        scores: Tensor = self._weighing.scale * similarity
        return scores

    def collate(self, lessons: Sequence[Lesson]) -> Batch:
        """Stack lessons into a batch."""
        return collate(
            lessons,
            pad_id=self.seq2seq.pad_id,
            prompt_ids=self.seq2seq.prompt_ids,
            question_pad_id=0 if self._weighing is None else self._weighing.pad_id,
        )


def _without_tied(learner: Any, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    for name in learner._tied:
        del state[prefix + name]


def _with_tied(learner: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, first in learner._tied.items():
        state[prefix + name] = state[prefix + first]


class Weighing:
    """What says how likely each text is, before any is read: p(z|x) of RAG.

    Args:
        encoder: embeds the texts, and the questions, if no encoder learns to.
        tower: embeds the questions, and learns.
        scale: similarities are multiplied by it.

    Raises:
        ModelError: the encoder compares by distance, or the two have other dimensions.
    """

    def __init__(self, encoder: Encoder, tower: SentenceTransformer | None, scale: float) -> None:
        identity = encoder.identity
        if identity.similarity == "l2":
            raise ModelError(
                f"{identity.name!r} compares by distance, and RAG by dot products",
                where="passage_encoder",
                remedy="Name an encoder that was trained with dot products or cosines.",
            )
        if tower is not None and tower.get_embedding_dimension() != identity.dimension:
            raise ModelError(
                f"questions have {tower.get_embedding_dimension()} dimensions and texts "
                f"{identity.dimension}",
                where="passage_encoder",
                remedy="Name two encoders that were trained together, or one.",
            )
        self.tower = tower
        self.scale = scale
        self.is_cosine = identity.similarity == "cosine"
        self.pad_id = 0 if tower is None else int(tower.tokenizer.pad_token_id or 0)
        self._encoder = encoder
        self._texts: dict[str, NDArray[np.float32]] = {}
        self._questions: dict[str, NDArray[np.float32]] = {}

    def of(
        self, exercise: Exercise
    ) -> tuple[NDArray[np.float32], IntArray | None, NDArray[np.float32]]:
        """Give scores of an exercise's texts, the question's tokens, and the texts' vectors."""
        passages = np.stack([self._texts[text] for text in exercise.texts])
        if self.tower is None:
            scores = self.scale * (passages @ self._questions[exercise.question])
            return scores.astype(np.float32), None, passages
        prompt = self.tower.prompts.get("query") or ""
        ids = self.tower.tokenizer(
            prompt + exercise.question, truncation=True, max_length=self.tower.max_seq_length
        )["input_ids"]
        return np.zeros(len(passages), np.float32), np.array(ids, np.int64), passages

    def embed(self, exercises: Sequence[Exercise]) -> None:
        """Embed what stays as it is, once, before `of` is asked for it."""
        texts = dict.fromkeys(text for exercise in exercises for text in exercise.texts)
        missing = [text for text in texts if text not in self._texts]
        vectors = self._unit(self._encoder.encode_passages(missing))
        self._texts.update(zip(missing, vectors, strict=True))
        if self.tower is None:
            questions = list(dict.fromkeys(exercise.question for exercise in exercises))
            vectors = self._unit(self._encoder.encode_questions(questions))
            self._questions.update(zip(questions, vectors, strict=True))

    def _unit(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.is_cosine:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-12)
        return units


@dataclass(frozen=True, slots=True)
class Trial:
    """A question of dev: what the generator reads, and the answers that count as right."""

    lesson: Lesson
    gold: tuple[str, ...]


def lessons_of(
    exercises: Sequence[Exercise],
    seq2seq: Seq2Seq,
    max_answer_length: int,
    weighing: Weighing | None = None,
) -> tuple[list[Lesson], Counter[str]]:
    """Turn exercises into tokens.

    Args:
        exercises: in any order.
        seq2seq: the generator; its layout says what it reads.
        max_answer_length: tokens of an answer at most, its end among them.
        weighing: of the texts.

    Returns:
        The lessons, and counts of exercises that make none: `question_too_long`, which leaves no
        room for a text; `answer_too_long`, all of them; `beyond`, the text was cut, and none of
        the answers is in what is left of it.
    """
    counts: Counter[str] = Counter()
    lessons = []
    if weighing is not None:
        weighing.embed(exercises)
    for exercise in exercises:
        try:
            sources = seq2seq.source_ids(exercise.question, exercise.texts, exercise.titles or None)
        except QuestionTooLongError:
            counts["question_too_long"] += 1
            continue
        answers = {
            ids: share
            for ids, share in _answers(exercise, seq2seq).items()
            if len(ids) <= max_answer_length
        }
        if not answers:
            counts["answer_too_long"] += 1
            continue
        cut = len(sources[0]) >= seq2seq.layout.max_length
        if cut and not any(_contains(sources[0], ids[:-1]) for ids in answers):
            counts["beyond"] += 1
            continue
        lessons.append(_lesson(exercise, sources, answers, weighing))
    return lessons, counts


def trials_of(
    exercises: Sequence[Exercise], seq2seq: Seq2Seq, weighing: Weighing | None = None
) -> list[Trial]:
    """Turn exercises into what is measured on; all but those whose question has no room."""
    trials = []
    if weighing is not None:
        weighing.embed(exercises)
    for exercise in exercises:
        try:
            sources = seq2seq.source_ids(exercise.question, exercise.texts, exercise.titles or None)
        except QuestionTooLongError:
            continue
        lesson = _lesson(exercise, sources, _answers(exercise, seq2seq), weighing)
        trials.append(Trial(lesson, tuple(text for text, _ in exercise.answers)))
    return trials


def answer_f1(
    learner: Learner, seq2seq: Seq2Seq, trials: Sequence[Trial], max_answer_length: int
) -> dict[str, float]:
    """Let a generator answer, greedily, and give the mean `f1` and `em` of its answers.

    Args:
        learner: says how likely each text is.
        seq2seq: what answers: the learner's own generator, or the one that was saved.
        trials: the questions; at least one.
        max_answer_length: tokens of an answer at most.
    """
    search = BeamSearch(num_beams=1, max_length=max_answer_length)
    beams = token_beams if learner.mode == "token" else sequence_beams
    order = sorted(range(len(trials)), key=lambda place: -len(trials[place].lesson))
    f1s, ems = [], []
    for start in range(0, len(order), QUESTIONS_AT_ONCE):
        some = [trials[place] for place in order[start : start + QUESTIONS_AT_ONCE]]
        lessons = [trial.lesson for trial in some]
        with torch.no_grad():
            batch = learner.collate(lessons)
            device = seq2seq.device
            scores = learner.scores({name: tensor.to(device) for name, tensor in batch.items()})
        rows = [
            row[: len(lesson.sources)]
            for row, lesson in zip(scores.float().tolist(), lessons, strict=True)
        ]
        sources = [[source.tolist() for source in lesson.sources] for lesson in lessons]
        for trial, found in zip(some, beams(seq2seq, sources, rows, search), strict=True):
            said = seq2seq.decode(found[0].ids)
            f1s.append(f1(said, trial.gold))
            ems.append(exact_match(said, trial.gold))
    return {"f1": float(np.mean(f1s)), "em": float(np.mean(ems))}


def set_dropout(model: Any, rate: float) -> None:
    """Set the dropout between a BART's or T5's layers; that of attention is set to 0.

    On a CPU dropout of the attention costs a third of the time.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0 if type(module).__name__.endswith("Attention") else rate
        if isinstance(getattr(module, "activation_dropout", None), float):
            module.activation_dropout = 0.0


def _answers(exercise: Exercise, seq2seq: Seq2Seq) -> dict[tuple[int, ...], float]:
    """Give answers that differ in tokens, with their shares."""
    shares: Counter[tuple[int, ...]] = Counter()
    for text, share in exercise.answers:
        ids = seq2seq.tokenizer.encode(" ".join(text.split()), add_special_tokens=False).ids
        shares[*ids, seq2seq.eos_id] += share  # type: ignore[assignment]  # a Counter of floats
    return dict(shares)


def _lesson(
    exercise: Exercise,
    sources: Sequence[Sequence[int]],
    answers: dict[tuple[int, ...], float],
    weighing: Weighing | None,
) -> Lesson:
    total = sum(answers.values())
    scores: NDArray[np.float32] = np.zeros(len(sources), np.float32)
    question, passages = None, None
    if weighing is not None:
        scores, question, passages = weighing.of(exercise)
    return Lesson(
        tuple(np.array(source, np.int64) for source in sources),
        tuple(np.array(answer, np.int64) for answer in answers),
        tuple(share / total for share in answers.values()),
        scores,
        question,
        passages if question is not None else None,
    )


def _contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    part = list(part)
    return any(
        list(ids[start : start + len(part)]) == part for start in range(len(ids) - len(part) + 1)
    )
