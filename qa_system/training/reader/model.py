"""A reader in training: a question-answering model, and how it reads texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.models.checkpoints import has_token_types, load_config
from qa_system.models.locate import ModelLocation
from qa_system.readers.backends import TorchBackend, load_checkpoint
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label
from qa_system.training.reader.evaluate import Read, read_labels
from qa_system.training.record import keep_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["Reader", "load_model", "logits"]

DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "mlp_dropout")
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
"""What architectures call them in their config."""


@dataclass(frozen=True)
class Reader:
    """A reader in training.

    Args:
        model: one of transformers' `...ForQuestionAnswering`.
        backend: the same model with its tokenizer, as readers use them.
        location: where it came from.
        cutter: cuts texts into its windows.
        max_answer_length: tokens of an answer at most.
    """

    model: Any
    backend: TorchBackend
    location: ModelLocation
    cutter: WindowCutter
    max_answer_length: int

    @property
    def has_token_types(self) -> bool:
        """Whether it distinguishes the question's tokens from the text's."""
        return has_token_types(self.model.config)

    def read(self, sources: Sequence[Sequence[Label]]) -> list[list[Read]]:
        """Read every label's own text with the model as it stands."""
        return [
            read_labels(self.backend, self.cutter, labels, self.max_answer_length)
            for labels in sources
        ]

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        keep_tokenizer(self.location, folder)


def logits(
    model: Any, batch: dict[str, torch.Tensor], has_token_types: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return start and end logits of a batch of windows, each of shape (windows, tokens)."""
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if has_token_types else ()))
    output = model(**{name: batch[name] for name in names})
    return output.start_logits, output.end_logits


def load_model(location: ModelLocation, dropout: float, device: torch.device) -> Any:
    """Load what training starts from; the head of a plain encoder is initialised at random.

    Args:
        location: of the checkpoint.
        dropout: between the layers; attention has none.
        device: where it is trained.

    Raises:
        ModelError: no reader can start from it.
    """
    import torch

    config = load_config(
        location,
        purpose="extractive question answering",
        remedy="Name an encoder or a question-answering checkpoint, in safetensors.",
    )
    if config.num_labels != 2:  # a ranker's has one
        config.num_labels = 2
    for names, rate in ((DROPOUTS, dropout), (ATTENTION_DROPOUTS, 0.0)):
        for name in names:
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
    model = load_checkpoint(
        location,
        new_head=True,
        config=config,
        dtype=torch.float32,
        # The fused kernel is slower than the plain one on a CPU: 2,800 tokens/s against 3,600.
        **({} if device.type == "cuda" else {"attn_implementation": "eager"}),
    )
    return model.to(device)
