"""The loss of a generator: batches of examples, and the probability of their answers.

The loss is RAG's (Lewis et al., 2020, https://arxiv.org/abs/2005.11401, section 2.1): the negative
log-probability of the answer, with the documents summed out, so that the gradient reaches the
question encoder through p(z|x). The passage encoder learns nothing (section 2.4).

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qa_system.generators.marginal import document_log_prior, sequence_marginal, token_marginal
from qa_system.models.inference import IntArray, pad
from qa_system.training.generator.tokens import Tokens

__all__ = ["Batch", "GoldLogProbs", "collate", "gold_log_probs", "rag_loss"]

IGNORED = -100
"""Stands in `labels` where a row has no token."""

SOURCES_AT_ONCE = 8
"""Through the encoder on a CPU, of like length: a question's texts are of all lengths."""

Batch = dict[str, Tensor]


def collate(
    examples: Sequence[Tokens], *, pad_id: int, prompt_ids: Sequence[int], question_pad_id: int = 0
) -> Batch:
    """Stack examples into what `gold_log_probs` takes.

    Args:
        examples: at least one.
        pad_id: fills short rows.
        prompt_ids: what the decoder is given before an answer, and does not learn.
        question_pad_id: the question encoder's `pad_id`.

    Returns:
        - `input_ids`, `attention_mask`: (sources, tokens), of all examples in turn.
        - `source_of`: (examples, documents), rows of those; 0 where `present` is False.
        - `present`, `scores`: (examples, documents).
        - `labels`, `decoder_input_ids`: (answers, tokens), of all examples in turn.
        - `example_of`, `shares`: (answers,).
        - `question_ids`, `question_mask`: (examples, tokens); `passages`: (examples, documents,
          dimension). Only where the examples have them.
    """
    counts = [len(example.sources) for example in examples]
    firsts = [0, *accumulate(counts)]
    sources = [source for example in examples for source in example.sources]
    answers = [answer for example in examples for answer in example.answers]
    present = np.arange(max(counts)) < np.array(counts)[:, None]
    source_of = np.where(present, np.array(firsts[:-1])[:, None] + np.arange(max(counts)), 0)
    given = [IGNORED] * (len(prompt_ids) - 1)
    arrays: dict[str, NDArray[Any]] = {
        "input_ids": pad(sources, pad_id),
        "attention_mask": _mask(sources),
        "source_of": source_of,
        "present": present,
        "scores": _stacked([example.scores for example in examples]),
        "labels": pad([[*given, *answer] for answer in answers], IGNORED),
        "decoder_input_ids": pad([[*prompt_ids, *answer[:-1]] for answer in answers], pad_id),
        "example_of": np.repeat(np.arange(len(examples)), [len(one.answers) for one in examples]),
        "shares": np.array([share for example in examples for share in example.shares], np.float32),
    }
    questions = [example.question for example in examples if example.question is not None]
    if questions:
        arrays["question_ids"] = pad(questions, question_pad_id)
        arrays["question_mask"] = _mask(questions)
        arrays["passages"] = _stacked(
            [example.passages for example in examples if example.passages is not None]
        )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@dataclass(frozen=True, slots=True)
class GoldLogProbs:
    """Log-probabilities of gold answers.

    Args:
        log_probs: of each token, given each document, shape (answers, documents, tokens); 0 where
            there is no token or no document.
        spread: the mean of all tokens' log-probabilities in the same places.
    """

    log_probs: Tensor
    spread: Tensor


def gold_log_probs(generator: Any, batch: Batch) -> GoldLogProbs:
    """Compute log p(y_t|x,z,y_<t) of each answer's tokens, given each document.

    A document goes through the encoder once, however many answers there are, and only the tokens
    that count go through the vocabulary.

    Args:
        generator: a BART or T5 of transformers (`...ForConditionalGeneration`).
        batch: what `collate` returned.
    """
    mask, labels = batch["attention_mask"], batch["labels"]
    states = _encoded(generator.get_encoder(), batch["input_ids"], mask)
    answer, document = batch["present"][batch["example_of"]].nonzero(as_tuple=True)
    source = batch["source_of"][batch["example_of"][answer], document]
    hidden = generator.get_decoder()(
        input_ids=batch["decoder_input_ids"][answer],
        encoder_hidden_states=states[source],
        encoder_attention_mask=mask[source],
        use_cache=False,
    ).last_hidden_state
    row, place = (labels[answer] != IGNORED).nonzero(as_tuple=True)
    logits = _vocabulary(generator, hidden[row, place]).float()
    gold = labels[answer[row], place]
    norm = logits.logsumexp(-1)
    where = answer[row], document[row], place
    nothing = logits.new_zeros(len(labels), batch["present"].shape[1], labels.shape[1])
    return GoldLogProbs(
        nothing.index_put(where, logits.gather(-1, gold.unsqueeze(-1)).squeeze(-1) - norm),
        nothing.index_put(where, logits.mean(-1) - norm),
    )


def rag_loss(
    gold: GoldLogProbs,
    scores: Tensor,
    batch: Batch,
    mode: Literal["token", "sequence"],
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the negative log-probability of the answers, a token.

    That is the sum over answers of share x -log p(y|x), through the sum of share x tokens.
    Smoothing adds what all tokens' log-probabilities come to, weighted by p(z|x), from which it
    is kept; with one document that is the usual cross-entropy with smoothed labels.

    Args:
        gold: of each answer and document.
        scores: of the documents, shape (examples, documents).
        batch: what `collate` returned.
        mode: RAG-Token or RAG-Sequence.
        label_smoothing: the share of the loss that all tokens have.
    """
    log_prior = document_log_prior(scores.float(), batch["present"])[batch["example_of"]]
    counted = batch["labels"] != IGNORED
    if mode == "token":
        tokens = token_marginal(log_prior, gold.log_probs)
        answers = tokens.where(counted, 0.0).sum(-1)
    else:
        answers = sequence_marginal(log_prior, gold.log_probs.sum(-1))
    if label_smoothing:
        prior = log_prior.detach().exp().unsqueeze(-1)
        spread = (prior * gold.spread).sum(dim=(1, 2))
        answers = (1 - label_smoothing) * answers + label_smoothing * spread
    shares = batch["shares"]
    return -(shares * answers).sum() / (shares * counted.sum(-1)).sum()


def _encoded(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    if ids.device.type != "cpu" or len(ids) <= SOURCES_AT_ONCE:
        states: Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return states
    lengths = mask.sum(-1)
    order = lengths.argsort(stable=True)
    parts = []
    for rows in torch.split(order, SOURCES_AT_ONCE):
        width = int(lengths[rows[-1]])
        part = encoder(input_ids=ids[rows, :width], attention_mask=mask[rows, :width])
        missing = ids.shape[1] - width
        parts.append(functional.pad(part.last_hidden_state, (0, 0, 0, missing)))
    return torch.cat(parts)[order.argsort()]


def _vocabulary(generator: Any, hidden: Tensor) -> Tensor:
    if getattr(generator.config, "scale_decoder_outputs", False):  # T5 with tied embeddings
        hidden = hidden * generator.config.d_model**-0.5
    logits: Tensor = generator.get_output_embeddings()(hidden)
    bias = getattr(generator, "final_logits_bias", None)
    return logits if bias is None else logits + bias


def _mask(rows: Sequence[IntArray]) -> IntArray:
    lengths = np.array([[len(row)] for row in rows])
    return (np.arange(lengths.max()) < lengths).astype(np.int64)


def _stacked(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    stacked = np.zeros((len(rows), max(map(len, rows)), *rows[0].shape[1:]), np.float32)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked
