"""How well a model predicts hidden words of reviews that it has not learnt from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qa_system.models.inference import token_batches
from qa_system.training.language_model.masking import IGNORED, Masked

if TYPE_CHECKING:
    from qa_system.training.language_model.model import LanguageModel

__all__ = ["LOG_LIKELIHOOD", "measure"]

LOG_LIKELIHOOD = "log_likelihood"
"""The score that the weights are chosen by: of a hidden token, the mean; the negative loss."""
BATCH_TOKENS = 4096


def measure(
    learner: LanguageModel, sources: Sequence[Sequence[Masked]], *, bf16: bool
) -> dict[str, float]:
    """Return how likely the hidden tokens are; each source counts as much as the next.

    Args:
        learner: the model as it stands.
        sources: windows with hidden words, by source.
        bf16: whether products are taken in bf16.

    Returns:
        `log_likelihood`, the mean of the natural logarithms of a hidden token's probability;
        `perplexity`, the exponential of its negative; `accuracy`, the share of hidden tokens that
        the model finds most likely.
    """
    parts = [_of_source(learner, windows, bf16) for windows in sources]
    likelihood, accuracy = (sum(each) / len(parts) for each in zip(*parts, strict=True))
    return {
        LOG_LIKELIHOOD: likelihood,
        "perplexity": math.exp(min(-likelihood, 700.0)),
        "accuracy": accuracy,
    }


def _of_source(
    learner: LanguageModel, windows: Sequence[Masked], bf16: bool
) -> tuple[float, float]:
    import torch

    model = learner.model
    was_training = model.training
    model.eval()
    total = right = hidden = 0.0
    with (
        torch.inference_mode(),
        torch.autocast(model.device.type, torch.bfloat16, enabled=bf16),
    ):
        for places in token_batches([len(each) for each in windows], BATCH_TOKENS):
            batch = learner.collate([windows[place] for place in places])
            batch = {name: value.to(model.device) for name, value in batch.items()}
            logits = learner.logits(model, batch).float()
            targets = batch["labels"][batch["labels"] != IGNORED]
            total += float(
                logits.log_softmax(-1).gather(1, targets[:, None]).sum(dtype=torch.float64)
            )
            right += float((logits.argmax(-1) == targets).sum())
            hidden += len(targets)
    model.train(was_training)
    return total / hidden, right / hidden
