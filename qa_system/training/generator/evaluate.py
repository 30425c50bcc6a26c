"""A generator in training, measured by its greedy answers.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from qa_system.errors import DataError
from qa_system.generators.beams import BeamSearch, sequence_beams, token_beams
from qa_system.generators.seq2seq import Seq2Seq
from qa_system.metrics import exact_match, f1
from qa_system.training.generator.examples import Example
from qa_system.training.generator.model import RagModel
from qa_system.training.generator.prior import Prior
from qa_system.training.generator.tokens import Tokens, all_tokens

__all__ = ["DevExample", "answer_f1", "dev_examples", "measure"]

QUESTIONS_AT_ONCE = 32
"""It changes no result."""


@dataclass(frozen=True, slots=True)
class DevExample:
    """A question of dev: what the generator reads, and the answers that count as right."""

    tokens: Tokens
    gold: tuple[str, ...]


def dev_examples(
    examples: Sequence[Example], seq2seq: Seq2Seq, prior: Prior | None = None
) -> list[DevExample]:
    """Turn examples into what is measured on: all but those whose question leaves no room.

    Raises:
        DataError: none is left.
    """
    found = [
        DevExample(tokens, tuple(text for text, _ in example.answers))
        for example, tokens in all_tokens(examples, seq2seq, prior)
    ]
    if not found:
        raise DataError(
            "no question to measure on leaves room for a text",
            remedy="Name another source in `dev`, or set a larger max_source_length.",
        )
    return found


def measure(
    model: RagModel,
    seq2seq: Seq2Seq,
    sources: Sequence[Sequence[DevExample]],
    max_answer_length: int,
) -> dict[str, float]:
    """Return the `f1` and `em` of a generator, each source counting as much as the next.

    Args:
        model: computes how likely each text is.
        seq2seq: what answers: the model's own generator, or the one that was saved.
        sources: the questions.
        max_answer_length: tokens of an answer at most.
    """
    measured = [answer_f1(model, seq2seq, examples, max_answer_length) for examples in sources]
    return {name: fmean(each[name] for each in measured) for name in measured[0]}


def answer_f1(
    model: RagModel, seq2seq: Seq2Seq, examples: Sequence[DevExample], max_answer_length: int
) -> dict[str, float]:
    """Return the mean `f1` and `em` of a generator's greedy answers to at least one question.

    The arguments are those of `measure`, for one source.
    """
    search = BeamSearch(num_beams=1, max_length=max_answer_length)
    beams = token_beams if model.mode == "token" else sequence_beams
    order = sorted(range(len(examples)), key=lambda place: -len(examples[place].tokens))
    f1s, ems = [], []
    for start in range(0, len(order), QUESTIONS_AT_ONCE):
        some = [examples[place] for place in order[start : start + QUESTIONS_AT_ONCE]]
        tokens = [example.tokens for example in some]
        with torch.no_grad():
            batch = model.collate(tokens)
            device = seq2seq.device
            scores = model.scores({name: tensor.to(device) for name, tensor in batch.items()})
        rows = [
            row[: len(each.sources)]
            for row, each in zip(scores.float().tolist(), tokens, strict=True)
        ]
        sources = [[source.tolist() for source in each.sources] for each in tokens]
        for example, found in zip(some, beams(seq2seq, sources, rows, search), strict=True):
            answer = seq2seq.decode(found[0].ids)
            f1s.append(f1(answer, example.gold))
            ems.append(exact_match(answer, example.gold))
    return {"f1": float(np.mean(f1s)), "em": float(np.mean(ems))}
