"""A judge in training: a classifier of pairs, and how it reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.datasets.pairs import Pair
from qa_system.judging.backends import TorchJudge
from qa_system.judging.judge import logits_of
from qa_system.judging.judgements import LOGITS, FloatArray, Judgements
from qa_system.models.checkpoints import has_token_types, load_config
from qa_system.models.checkpoints import load_model as load_transformer
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.models.positions import check_length, positions_of
from qa_system.models.tokenizing import check_vocabulary, encodable
from qa_system.training.judge.loss import judge_loss
from qa_system.training.judge.recipe import JudgeTraining
from qa_system.training.reader.layers import keep_layers
from qa_system.training.reader.model import ATTENTION_DROPOUTS, DROPOUTS
from qa_system.training.record import keep_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["JudgeInTraining", "start"]

REMEDY = "Name an encoder or a judge, in safetensors."


@dataclass(frozen=True)
class JudgeInTraining:
    """A judge in training.

    Args:
        model: one of transformers' `...ForSequenceClassification`.
        backend: the same model with its tokenizer, as a judge uses it.
        location: where it came from.
    """

    model: Any
    backend: TorchJudge
    location: ModelLocation

    def logits(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the logits of pairs with the model as it stands, (n, 9)."""
        texts = [(encodable(pair.question), encodable(pair.text)) for pair in pairs]
        return logits_of(self.backend, texts)

    def judge(self, pairs: Sequence[Pair]) -> Judgements:
        """Judge pairs with the model as it stands, not calibrated."""
        return Judgements.of_logits(self.logits(pairs))

    def loss(
        self, model: Any, batch: dict[str, torch.Tensor], *, weights: Mapping[str, float]
    ) -> torch.Tensor:
        """Return the loss of a batch that `collate` made."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        known = names if has_token_types(self.model.config) else names[:2]
        output = model(**{name: batch[name] for name in known})
        return judge_loss(output.logits, batch["targets"], weights)

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        keep_tokenizer(self.location, folder)


def start(location: ModelLocation, recipe: JudgeTraining, device: torch.device) -> JudgeInTraining:
    """Load what training starts from; the heads of a plain encoder are initialised at random.

    Args:
        location: of the checkpoint.
        recipe: of the run.
        device: where it is trained.

    Raises:
        ModelError: no judge can start from it.
        ConfigError: it has fewer layers than are to be kept, or fewer positions.
    """
    import torch

    config = load_config(location, purpose="judging texts", remedy=REMEDY)
    config.id2label = dict(enumerate(LOGITS))
    config.label2id = {name: place for place, name in enumerate(LOGITS)}
    config.problem_type = None
    for names, rate in ((DROPOUTS, recipe.dropout), (ATTENTION_DROPOUTS, 0.0)):
        for name in names:
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
    model = load_transformer(
        location,
        "AutoModelForSequenceClassification",
        purpose="judging texts",
        remedy=REMEDY,
        new_head=True,
        config=config,
        dtype=torch.float32,
        # The fused kernel is slower than the plain one on a CPU, as for a reader.
        **({} if device.type == "cuda" else {"attn_implementation": "eager"}),
    )
    check_vocabulary(load_tokenizer(location.path, config), model, str(location.path))
    if recipe.layers is not None:
        keep_layers(model, recipe.layers)
    if recipe.frozen_embeddings:
        model.get_input_embeddings().requires_grad_(requires_grad=False)
    length = recipe.max_seq_length
    check_length("max_seq_length", length, positions_of(model), str(location.path))
    model = model.to(device)
    backend = TorchJudge(model, load_tokenizer(location.path), max_seq_length=length)
    return JudgeInTraining(model, backend, location)
