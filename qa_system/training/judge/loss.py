"""The loss of a judge: each pair counts for the heads that it has labels for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qa_system.datasets.pairs import Pair
from qa_system.judging.judgements import HEADS
from qa_system.models.inference import pad
from qa_system.models.tokenizing import encodable

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

__all__ = ["Row", "collate", "judge_loss", "rows_of", "targets_of"]


def targets_of(pair: Pair) -> NDArray[np.float32]:
    """Return what each logit should say, in the order of `LOGITS`, (9,); NaN: nobody has said.

    >>> targets_of(Pair("Is it loud?", "Very.", {"stance": (1.0, 0.0, 0.0)})).tolist()
    [nan, 1.0, 0.0, 0.0, nan, nan, nan, nan, nan]
    """
    values: list[float] = []
    for name, classes in HEADS.items():
        values += pair.labels.get(name, (np.nan,) * len(classes))
    return np.array(values, np.float32)


@dataclass(frozen=True, slots=True)
class Row:
    """A pair as a model learns from it.

    Args:
        ids: of the tokens of question and text.
        type_ids: 0 for the question's, 1 for the text's.
        targets: what each logit should say, see `targets_of`.
    """

    ids: NDArray[np.int32]
    type_ids: NDArray[np.int8]
    targets: NDArray[np.float32]


def rows_of(pairs: Sequence[Pair], tokenizer: Tokenizer) -> list[Row]:
    """Encode pairs."""
    texts = [(encodable(pair.question), encodable(pair.text)) for pair in pairs]
    encodings = tokenizer.encode_batch(texts)
    return [
        Row(np.array(one.ids, np.int32), np.array(one.type_ids, np.int8), targets_of(pair))
        for pair, one in zip(pairs, encodings, strict=True)
    ]


def collate(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """Stack rows into a batch for the model and `judge_loss`."""
    import torch

    arrays: dict[str, Any] = {
        "input_ids": pad([row.ids for row in rows], pad_id),
        "attention_mask": pad([np.ones(len(row.ids), np.int64) for row in rows]),
        "token_type_ids": pad([row.type_ids for row in rows]),
        "targets": np.stack([row.targets for row in rows]),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def judge_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: Mapping[str, float]
) -> torch.Tensor:
    """Return the mean over pairs of the sum over heads of the cross-entropy with the labels.

    A head without a label adds nothing.

    Args:
        logits: shape (pairs, 9).
        targets: shape (pairs, 9), see `targets_of`.
        weights: of each head; one that is not named has 1.

    >>> import torch
    >>> from qa_system.judging.judgements import LOGITS
    >>> targets = torch.full((2, len(LOGITS)), torch.nan)
    >>> targets[0, 0], targets[0, 1:4] = 1.0, torch.tensor([0.0, 1.0, 0.0])
    >>> loss = judge_loss(torch.zeros(2, len(LOGITS)), targets, {"stance": 0.5})
    >>> round(float(loss), 4)  # (ln 2 + 0.5 ln 3) / 2
    0.6212
    """
    import torch

    logits = logits.float()
    total = logits.new_zeros(())
    start = 0
    for name, classes in HEADS.items():
        part = slice(start, start + len(classes))
        start += len(classes)
        known = ~targets[:, part].isnan().any(dim=1)
        if not known.any():
            continue
        said, wanted = logits[known, part], targets[known, part]
        if len(classes) == 1:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                said, wanted, reduction="sum"
            )
        else:
            losses = torch.nn.functional.cross_entropy(said, wanted, reduction="sum")
        total = total + weights.get(name, 1.0) * losses
    return total / len(logits)
