"""Examples -> tokens, as a generator and its question encoder read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import DataError, QuestionTooLongError
from qa_system.models.inference import IntArray
from qa_system.training.generator.examples import Example
from qa_system.training.sources import Fits

if TYPE_CHECKING:
    from qa_system.generators.seq2seq import Seq2Seq
    from qa_system.training.generator.prior import Prior

__all__ = ["Tokens", "all_tokens", "fits_of", "learnable_tokens"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """An example in tokens.

    Args:
        sources: of each text with the question, at least one.
        answers: of each, the token that ends it included; at least one.
        shares: of the answers; their sum is 1.
        scores: of each text, as the retriever computes them, times `score_scale`.
        question: as the question encoder reads it; None: `scores` stay what they are.
        passages: what the passage encoder made of each text, shape (texts, dimension).
    """

    sources: tuple[IntArray, ...]
    answers: tuple[IntArray, ...]
    shares: tuple[float, ...]
    scores: NDArray[np.float32]
    question: IntArray | None = None
    passages: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Tokens of the longest source."""
        return max(map(len, self.sources))


def fits_of(seq2seq: Seq2Seq) -> Fits:
    """Return what tells which questions leave a generator room for a text."""

    def fits(questions: Sequence[str]) -> list[bool]:
        # Whether there is room does not depend on what fills it.
        return [_sources(Example(each, ("x",), ()), seq2seq) is not None for each in questions]

    return fits


def learnable_tokens(
    examples: Sequence[Example],
    seq2seq: Seq2Seq,
    max_answer_length: int,
    prior: Prior | None = None,
) -> tuple[list[Tokens], Counter[str]]:
    """Return the examples that a generator can learn from, in tokens.

    Args:
        examples: in any order.
        seq2seq: the generator; its layout says what it reads.
        max_answer_length: tokens of an answer at most, its end among them.
        prior: of the texts; None: all of a question's are as likely.

    Returns:
        The tokens, and counts of examples that are left out: `question_too_long`, which leaves no
        room for a text; `answer_too_long`, all of them; `beyond`, the text was cut, and none of
        the answers is in what is left of it.

    Raises:
        DataError: all are left out.
    """
    counts: Counter[str] = Counter()
    learnable = []
    if prior is not None:
        prior.embed(examples)
    for example in examples:
        sources = _sources(example, seq2seq)
        if sources is None:
            counts["question_too_long"] += 1
            continue
        answers = {
            ids: share
            for ids, share in _answers(example, seq2seq).items()
            if len(ids) <= max_answer_length
        }
        if not answers:
            counts["answer_too_long"] += 1
            continue
        cut = len(sources[0]) >= seq2seq.layout.max_length
        if cut and not any(_contains(sources[0], ids[:-1]) for ids in answers):
            counts["beyond"] += 1
            continue
        learnable.append(_tokens(example, sources, answers, prior))
    if not learnable:
        raise DataError(
            "there is nothing to learn from", remedy="Name a source in `train` with answers."
        )
    return learnable, counts


def all_tokens(
    examples: Sequence[Example], seq2seq: Seq2Seq, prior: Prior | None = None
) -> list[tuple[Example, Tokens]]:
    """Return all examples but those whose question leaves no room for a text, with their tokens."""
    if prior is not None:
        prior.embed(examples)
    return [
        (example, _tokens(example, sources, _answers(example, seq2seq), prior))
        for example in examples
        if (sources := _sources(example, seq2seq)) is not None
    ]


def _sources(example: Example, seq2seq: Seq2Seq) -> list[list[int]] | None:
    """Return the tokens of each text with the question; None if that leaves no room for a text."""
    try:
        return seq2seq.source_ids(example.question, example.texts, example.titles or None)
    except QuestionTooLongError:
        return None


def _answers(example: Example, seq2seq: Seq2Seq) -> dict[tuple[int, ...], float]:
    """Return answers that differ in tokens, with their shares."""
    shares: Counter[tuple[int, ...]] = Counter()
    for text, share in example.answers:
        ids = seq2seq.tokenizer.encode(" ".join(text.split()), add_special_tokens=False).ids
        shares[*ids, seq2seq.eos_id] += share  # type: ignore[assignment]  # a Counter of floats
    return dict(shares)


def _tokens(
    example: Example,
    sources: Sequence[Sequence[int]],
    answers: Mapping[tuple[int, ...], float],
    prior: Prior | None,
) -> Tokens:
    total = sum(answers.values())
    scores, question, passages = (
        (np.zeros(len(sources), np.float32), None, None) if prior is None else prior.of(example)
    )
    return Tokens(
        tuple(np.array(source, np.int64) for source in sources),
        tuple(np.array(answer, np.int64) for answer in answers),
        tuple(share / total for share in answers.values()),
        scores,
        question,
        passages,
    )


def _contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    part = list(part)
    return any(
        list(ids[start : start + len(part)]) == part for start in range(len(ids) - len(part) + 1)
    )
