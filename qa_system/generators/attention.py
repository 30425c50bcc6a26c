"""Attention in which several rows of a decoder share one row of encoder states.

The beams of a question all read the same document. transformers stores a copy of the document's
keys and values for each beam, and copies them again when beams change places. Here the keys and
values are stored once, and the beams become the queries of one attention. The results are the
same; memory and time are those of one beam.

Importing this module imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from qa_system.errors import ModelError

__all__ = ["share_keys", "sharing_keys"]

NAME = "qa_shared_keys"


def share_keys(model: Any, where: str | None = None) -> None:
    """Make a model's attention share keys from now on; change nothing else.

    Args:
        model: one of transformers' seq2seq models.
        where: the model's place, for the error.

    Raises:
        ModelError: its attention cannot be exchanged.
    """
    model.set_attn_implementation(NAME)
    if _implementation(model) != NAME:
        raise ModelError(
            f"the attention of {type(model).__name__} cannot be exchanged",
            where=where,
            remedy="Use a model of the BART or T5 family.",
        )


@contextmanager
def sharing_keys(model: Any) -> Iterator[None]:
    """Make a model's attention share keys inside the block, for example during training."""
    before = _implementation(model)
    if before == NAME:
        yield
        return
    share_keys(model)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _implementation(model: Any) -> str:
    return str(model.get_decoder().config._attn_implementation)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend where `query` has a multiple of the rows of `key`: neighbouring rows share one.

    Args:
        module: the attention's.
        query: shape (rows, heads, length, width).
        key: shape (sources, heads, source length, width); rows / sources rows share one.
        value: likewise.
        attention_mask: for shared keys of shape (sources, 1, 1, source length).
        scaling: of the scores.
        options: what transformers hands on to any attention.

    Returns:
        Shape (rows, length, heads, width).
    """
    rows, heads, length, width = query.shape
    sources = key.shape[0]
    if rows == sources:
        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return attended
    sharing = rows // sources
    together = (
        query.view(sources, sharing, heads, length, width)
        .transpose(1, 2)
        .reshape(sources, heads, sharing * length, width)
    )
    output = scaled_dot_product_attention(
        together, key, value, attn_mask=attention_mask, scale=scaling
    )
    apart = output.view(sources, heads, sharing, length, -1).permute(0, 2, 3, 1, 4)
    return apart.reshape(rows, length, heads, -1), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
