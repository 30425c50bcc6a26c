"""A judge in training: a classifier of pairs, and how it reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qa_system.judging.judgements import LOGITS
from qa_system.models.checkpoints import load_config
from qa_system.models.checkpoints import load_model as load_transformer
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.models.tokenizing import check_vocabulary
from qa_system.training.reader.layers import keep_layers
from qa_system.training.reader.model import ATTENTION_DROPOUTS, DROPOUTS
from qa_system.training.recipes import JudgeTraining

if TYPE_CHECKING:
    import torch

__all__ = ["start"]

REMEDY = "Name an encoder or a judge, in safetensors."


def start(location: ModelLocation, recipe: JudgeTraining, device: torch.device) -> Any:
    """Load what training starts from; the heads of a plain encoder are initialised at random.

    Args:
        location: of the checkpoint.
        recipe: of the run.
        device: where it is trained.

    Raises:
        ModelError: no judge can start from it.
        ConfigError: it has fewer layers than are to be kept.
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
    return model.to(device)
