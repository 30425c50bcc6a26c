"""A generator in training, and the question encoder that learns beside it, as one model.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qa_system.generators.facts import GeneratorFacts, Mode, write_facts
from qa_system.generators.seq2seq import Seq2Seq, load_seq2seq
from qa_system.models.locate import ModelLocation
from qa_system.training.generator.loss import Batch, collate, gold_log_probs, rag_loss
from qa_system.training.generator.prior import Prior
from qa_system.training.generator.tokens import Tokens

__all__ = ["RagModel", "save", "set_dropout", "start"]


class RagModel(nn.Module):
    """A generator and a question encoder that are trained by one loss.

    Args:
        seq2seq: the generator, with its tokenizer and layout.
        mode: which of RAG's losses.
        label_smoothing: see `rag_loss`.
        prior: how likely a text is beforehand; None: all of a question's are as likely.
    """

    def __init__(
        self,
        seq2seq: Seq2Seq,
        *,
        mode: Mode,
        label_smoothing: float = 0.0,
        prior: Prior | None = None,
    ) -> None:
        super().__init__()
        self.generator: nn.Module = seq2seq.model
        self.question_encoder = None if prior is None else prior.question_encoder
        self.seq2seq = seq2seq
        self.mode: Mode = mode
        self._label_smoothing = label_smoothing
        self._prior = prior
        first: dict[int, str] = {}
        self._tied: dict[str, str] = {}
        for name, weight in self.named_parameters(remove_duplicate=False):
            if first.setdefault(id(weight), name) != name:
                self._tied[name] = first[id(weight)]
        # safetensors writes no weight under two names.
        self.register_state_dict_post_hook(_without_tied)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_tied)  # type: ignore[no-untyped-call]

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, as `collate` makes one."""
        gold = gold_log_probs(self.generator, batch)
        return rag_loss(gold, self.scores(batch), batch, self.mode, self._label_smoothing)

    def scores(self, batch: Batch) -> Tensor:
        """Return the logits of p(z|x), shape (examples, documents)."""
        if self._prior is None or self.question_encoder is None:
            return batch["scores"]
        features = {"input_ids": batch["question_ids"], "attention_mask": batch["question_mask"]}
        questions = self.question_encoder(features)["sentence_embedding"].float()
        return self._prior.scores(questions, batch["passages"])

    def collate(self, examples: Sequence[Tokens]) -> Batch:
        """Stack examples into a batch."""
        return collate(
            examples,
            pad_id=self.seq2seq.pad_id,
            prompt_ids=self.seq2seq.prompt_ids,
            question_pad_id=0 if self._prior is None else self._prior.pad_id,
        )


def _without_tied(model: Any, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    for name in model._tied:
        del state[prefix + name]


def _with_tied(model: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, first in model._tied.items():
        state[prefix + name] = state[prefix + first]


def start(
    location: ModelLocation, device: torch.device, *, dropout: float, **layout: Any
) -> Seq2Seq:
    """Load what a generator's training starts from, in fp32.

    Args:
        location: of the checkpoint.
        device: where it is trained.
        dropout: between the layers; attention has none.
        layout: `template`, `max_source_length` and `score_scale` of `load_seq2seq`.

    Raises:
        ModelError: no generator can start from it.
        ConfigError: the template or the length does not fit.
    """
    seq2seq = load_seq2seq(location, device=str(device), precision="fp32", **layout)
    set_dropout(seq2seq.model, dropout)
    # The fused kernel is slower than the plain one on a CPU, as for a reader.
    seq2seq.model.set_attn_implementation("sdpa" if device.type == "cuda" else "eager")
    return seq2seq


def save(
    seq2seq: Seq2Seq, facts: GeneratorFacts, precision: Literal["bf16", "fp32"], folder: Path
) -> None:
    """Write a generator for `load_seq2seq`.

    Args:
        seq2seq: its weights are converted in place.
        facts: beside the weights.
        precision: of the weights.
        folder: that becomes the model.
    """
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    seq2seq.model.to(dtype).save_pretrained(folder)
    seq2seq.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_facts(folder, facts)


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
