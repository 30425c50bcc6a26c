"""A decoder over encoded documents: logits step by step, and probabilities of whole answers.

A document is encoded once. Its keys and values for cross-attention are computed once and stored
once, however many rows of the decoder read it.

Importing this module imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from qa_system.generators.attention import sharing_keys
from qa_system.generators.seq2seq import Seq2Seq
from qa_system.models.inference import pad, token_batches

__all__ = ["Decoder", "answer_log_probs", "encode"]

ENCODED_AT_ONCE = 4096
"""Padded source tokens in one pass of the encoder."""

LOGITS_AT_ONCE = 2**25
"""Numbers of a teacher-forced pass over whole answers: 128 MB of logits."""


def answer_log_probs(
    generator: Seq2Seq, sources: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Tensor:
    """Return log p(y_t|x,z,y_<t) of each answer's tokens under each document.

    Args:
        generator: the model.
        sources: token ids of each document, the question in it.
        answers: token ids, without the decoder's prompt.

    Returns:
        Shape (documents, answers, longest answer); 0 past an answer's end.
    """
    with torch.inference_mode(), sharing_keys(generator.model):
        decoder = Decoder(generator, *encode(generator, sources))
        return decoder.token_log_probs(range(len(sources)), answers)


def encode(generator: Seq2Seq, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Encode sources.

    Args:
        generator: the model.
        rows: token ids of each source.

    Returns:
        States, shape (rows, longest, width), and a mask, shape (rows, 1, 1, longest).
    """
    lengths = [len(row) for row in rows]
    device = generator.device
    longest = max(lengths)
    encoder = generator.model.get_encoder()
    states: Tensor | None = None
    for batch in token_batches(lengths, ENCODED_AT_ONCE):
        ids = torch.from_numpy(pad([rows[row] for row in batch], generator.pad_id)).to(device)
        own = torch.tensor([lengths[row] for row in batch], device=device)
        mask = torch.arange(ids.shape[1], device=device) < own[:, None]
        encoded = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if states is None:
            states = encoded.new_zeros(len(rows), longest, encoded.shape[-1])
        states[torch.from_numpy(batch).to(device), : ids.shape[1]] = encoded
    if states is None:
        raise ValueError("there is no source to encode")
    own = torch.tensor(lengths, device=device)
    present = torch.arange(longest, device=device) < own[:, None]
    return states, present[:, None, None, :]


class Decoder:
    """A decoder over encoded sources, with the keys and values that it has computed so far.

    Args:
        generator: the model.
        states: the encoder's output, shape (sources, longest, width).
        mask: which of the states are there, shape (sources, 1, 1, longest).
    """

    def __init__(self, generator: Seq2Seq, states: Tensor, mask: Tensor) -> None:
        self._generator = generator
        self._states = self._all_states = states
        self._mask = self._all_masks = mask
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._all_keys: list[tuple[Tensor, Tensor]] = []

    def step(self, ids: Tensor) -> Tensor:
        """Read the next tokens and return the logits after the last of them.

        Args:
            ids: the next tokens, shape (rows, length); rows is a multiple of sources.

        Returns:
            Shape (rows, vocabulary), in float32.
        """
        output = self._forward(ids, self._states, self._mask, self._cache)
        if not self._all_keys:
            layers = self._cache.cross_attention_cache.layers
            self._all_keys = [(layer.keys, layer.values) for layer in layers]
        return output[:, -1].float()

    def take(self, rows: Tensor, sources: Tensor | None = None) -> None:
        """Keep some rows, and reorder them.

        Args:
            rows: indexes of the rows to keep, in their new order; a row may occur several times.
            sources: indexes of the sources that they read; None keeps all sources.
        """
        self._cache.self_attention_cache.reorder_cache(rows)
        if sources is not None:
            self._cache.cross_attention_cache.reorder_cache(sources)
            self._states, self._mask = self._states[sources], self._mask[sources]

    def log_probs(self, sources: range, answers: Sequence[Sequence[int]]) -> Tensor:
        """Return log p(y|x,z), shape (answers, sources); `sources` counts all that were encoded."""
        return self.token_log_probs(sources, answers).sum(-1).T

    def token_log_probs(self, sources: range, answers: Sequence[Sequence[int]]) -> Tensor:
        """Return log p(y_t|x,z,y_<t), shape (sources, answers, longest); 0 past an answer's end."""
        documents = slice(sources.start, sources.stop)
        lengths = [len(answer) for answer in answers]
        vocabulary = int(self._generator.model.config.vocab_size)
        together = max(LOGITS_AT_ONCE // (len(sources) * vocabulary), 1)
        found = self._all_states.new_zeros(
            len(sources), len(answers), max(lengths), dtype=torch.float32
        )
        for batch in token_batches(lengths, together):
            chosen = [answers[at] for at in batch]
            log_probs = self._forced(documents, chosen)
            places = torch.from_numpy(batch).to(found.device)
            found[:, places, : log_probs.shape[-1]] = log_probs
        return found

    def _forced(self, documents: slice, answers: Sequence[Sequence[int]]) -> Tensor:
        device = self._all_states.device
        targets = torch.from_numpy(pad(answers, self._generator.pad_id)).to(device)
        lengths = torch.tensor([len(answer) for answer in answers], device=device)
        prompt = torch.tensor(self._generator.prompt_ids, device=device)
        read = torch.cat((prompt.expand(len(answers), -1), targets[:, :-1]), dim=1)
        states = self._all_states[documents]
        logits = self._forward(
            read.repeat(len(states), 1), states, self._all_masks[documents], self._known(documents)
        )
        after_prompt = logits[:, len(prompt) - 1 :].float()
        gold = after_prompt.gather(-1, targets.repeat(len(states), 1).unsqueeze(-1)).squeeze(-1)
        log_probs = (gold - after_prompt.logsumexp(-1)).view(len(states), len(answers), -1)
        counts = torch.arange(targets.shape[1], device=device) < lengths[:, None]
        return log_probs.where(counts, 0.0)

    def _known(self, documents: slice) -> Any:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        for layer, (keys, values) in enumerate(self._all_keys):
            cache.cross_attention_cache.update(keys[documents], values[documents], layer)
            cache.is_updated[layer] = True
        return cache

    def _forward(self, ids: Tensor, states: Tensor, mask: Tensor, cache: Any) -> Tensor:
        output = self._generator.model(
            decoder_input_ids=ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        logits: Tensor = output.logits
        return logits
