"""How likely each of a question's texts is before it is read: p(z|x) of RAG.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qa_system.errors import ModelError
from qa_system.models.inference import IntArray
from qa_system.retrievers.encoders import Encoder
from qa_system.training.generator.examples import Example

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Prior"]

FloatArray = NDArray[np.float32]


class Prior:
    """The similarities of questions and texts, of which a softmax is the prior.

    Args:
        passage_encoder: embeds the texts, and the questions, if no encoder learns to.
        question_encoder: embeds the questions, and learns.
        scale: similarities are multiplied by it.

    Raises:
        ModelError: the passage encoder compares by distance, or the two have other dimensions.
    """

    def __init__(
        self,
        passage_encoder: Encoder,
        question_encoder: SentenceTransformer | None,
        scale: float,
    ) -> None:
        identity = passage_encoder.identity
        if identity.similarity == "l2":
            raise ModelError(
                f"{identity.name!r} compares by distance, and RAG by dot products",
                where="passage_encoder",
                remedy="Name an encoder that was trained with dot products or cosines.",
            )
        if question_encoder is not None:
            dimension = question_encoder.get_embedding_dimension()
            if dimension != identity.dimension:
                raise ModelError(
                    f"questions have {dimension} dimensions and texts {identity.dimension}",
                    where="passage_encoder",
                    remedy="Name two encoders that were trained together, or one.",
                )
        self.question_encoder = question_encoder
        self.pad_id = (
            0 if question_encoder is None else int(question_encoder.tokenizer.pad_token_id or 0)
        )
        self._scale = scale
        self._is_cosine = identity.similarity == "cosine"
        self._passage_encoder = passage_encoder
        self._texts: dict[str, FloatArray] = {}
        self._questions: dict[str, FloatArray] = {}

    def embed(self, examples: Sequence[Example]) -> None:
        """Embed what does not change in training, before `of` is called."""
        texts = dict.fromkeys(text for example in examples for text in example.texts)
        missing = [text for text in texts if text not in self._texts]
        vectors = self._unit(self._passage_encoder.encode_passages(missing))
        self._texts.update(zip(missing, vectors, strict=True))
        if self.question_encoder is None:
            questions = list(dict.fromkeys(example.question for example in examples))
            vectors = self._unit(self._passage_encoder.encode_questions(questions))
            self._questions.update(zip(questions, vectors, strict=True))

    def of(self, example: Example) -> tuple[FloatArray, IntArray | None, FloatArray | None]:
        """Return an example's scores, or what they are computed from in training.

        Returns:
            Scores of the texts; the question's tokens, and the texts' vectors. Without a question
            encoder the last two are None, with one the scores are zeros.
        """
        passages = np.stack([self._texts[text] for text in example.texts])
        if self.question_encoder is None:
            scores = self._scale * (passages @ self._questions[example.question])
            return scores.astype(np.float32), None, None
        prompt = self.question_encoder.prompts.get("query") or ""
        ids = self.question_encoder.tokenizer(
            prompt + example.question,
            truncation=True,
            max_length=self.question_encoder.max_seq_length,
        )["input_ids"]
        return np.zeros(len(passages), np.float32), np.array(ids, np.int64), passages

    def scores(self, questions: Tensor, passages: Tensor) -> Tensor:
        """Return the scores of embedded texts.

        Args:
            questions: as the question encoder embeds them, shape (questions, dimension).
            passages: shape (questions, documents, dimension).
        """
        if self._is_cosine:
            questions = functional.normalize(questions, dim=-1)
        # As a sum, because a matrix product would be taken in bf16.
        similarity = (questions.unsqueeze(1) * passages).sum(-1)
        return torch.mul(similarity, self._scale)

    def _unit(self, vectors: FloatArray) -> FloatArray:
        if not self._is_cosine:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: FloatArray = vectors / np.maximum(lengths, 1e-12)
        return units
