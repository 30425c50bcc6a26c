"""Examples -> windows, the spans that a reader should find in each, and the loss.

Windows are the reader's own. In each, the model learns the probability of all of the annotators'
spans together, `-log sum_r P(start_r) P(end_r)`, over the review's tokens and the null token: so
one annotator's span is no error for being another's (Clark and Gardner, Simple and Effective
Multi-Paragraph Reading Comprehension, ACL 2018, section 2.2). A window without an answer, of a
text that has one or of one that has none, is the null token's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.models.inference import pad
from qa_system.readers.windows import Window, WindowCutter
from qa_system.records import Label
from qa_system.training.reader.examples import Example
from qa_system.training.sources import Material, Part, Sources, gather

if TYPE_CHECKING:
    import torch

__all__ = ["Target", "collate", "gather_targets", "span_loss", "targets_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """A window and the spans that the model should find in it.

    Args:
        window: the input.
        spans: first and last token of each answer, as positions in the window; the null token's
            alone, (0, 0), if the window has none; nothing at all if nobody has labelled it.
        example: that the window was cut from.
        place: of the window among those of the example's text.
    """

    window: Window
    spans: tuple[tuple[int, int], ...]
    example: Example
    place: int


def gather_targets(
    sources: Sources,
    examples_in: Callable[[Part], tuple[Sequence[Example], Counter[str]]],
    cutter: WindowCutter,
) -> Material[Target, Sequence[Label]]:
    """Turn sources into targets to learn from, and labels to measure on.

    Args:
        sources: of a recipe.
        examples_in: a part of `train` -> its examples, and counts of them by kind.
        cutter: cuts texts into the reader's windows.

    Raises:
        DataError: there is nothing to learn from, nothing to measure on, none of a source's
            answers was found in its text, or no question to measure on has an answer.
    """

    def targets_in(part: Part) -> tuple[list[Target], Counter[str]]:
        examples, counts = examples_in(part)
        if counts["unlocated"] and not any(example.spans for example in examples):
            raise DataError(
                f"none of the answers to {counts['unlocated']} questions was found in its text",
                where=part.dataset.path,
                remedy="Name a source whose answers are word for word in their texts.",
            )
        return targets_of(part.source.weighted(examples, part.seed), cutter), counts

    material = gather(sources, targets_in, lambda part: part.labels)
    if not any(gold_texts(label) for labels in material.measured for label in labels):
        raise DataError(
            "no question to measure on has an answer", remedy="Name another source in `dev`."
        )
    if not material.examples:
        raise DataError("there is nothing to learn from", remedy="Name a source in `train`.")
    return material


def targets_of(examples: Sequence[Example], cutter: WindowCutter) -> list[Target]:
    """Cut examples into windows, and find the answers in each.

    A window that holds a part of an answer, and no whole one, is left out: neither the span nor
    the null token would be true. Another window has the whole of it.
    """
    cut = cutter.cut(
        [example.question for example in examples], [[example.context] for example in examples]
    )
    return [
        Target(window, spans, example, place)
        for example, [windows] in zip(examples, cut, strict=True)
        for place, window in enumerate(windows)
        if (
            spans := _spans_in(
                window, example.spans, first=place == 0, last=place == len(windows) - 1
            )
        )
        is not None
    ]


def _spans_in(
    window: Window, marked: Sequence[tuple[int, int]] | None, *, first: bool, last: bool
) -> tuple[tuple[int, int], ...] | None:
    """Return the answers in a window, in tokens; None if it holds parts of answers alone."""
    if marked is None:
        return ()
    begins, ends = window.offsets[:, 0], window.offsets[:, 1]
    spans: dict[tuple[int, int], None] = {}
    is_cut = False
    for start, end in marked:
        # No answer begins or ends with a token of white space alone, which is empty.
        touched = np.flatnonzero((begins < end) & (ends > start) & (begins < ends))
        if not len(touched):
            continue
        if (start >= begins[0] or first) and (end <= ends[-1] or last):
            spans[
                int(touched[0]) + window.context_start, int(touched[-1]) + window.context_start
            ] = None
        else:
            is_cut = True
    return tuple(spans) or (None if is_cut else ((0, 0),))


def span_loss(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    allowed: torch.Tensor,
    spans: torch.Tensor,
) -> torch.Tensor:
    """Return the mean negative log of the probability of a window's spans, all together.

    Args:
        start_logits: shape (windows, tokens).
        end_logits: shape (windows, tokens).
        allowed: the tokens that a span may begin or end with, shape (windows, tokens).
        spans: first and last tokens, shape (windows, spans, 2); -1 where a window has fewer.

    >>> import torch
    >>> logits, allowed = torch.zeros(1, 4), torch.tensor([[True, False, True, True]])
    >>> loss = span_loss(logits, logits, allowed, torch.tensor([[[2, 3], [3, 3], [-1, -1]]]))
    >>> round(float(loss.exp()), 3)  # one in 2 x (1/3 x 1/3)
    4.5
    """
    import torch

    def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
        return logits.float().masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)

    known = spans[..., 0] >= 0
    place = spans.clamp(min=0)
    joint = log_probabilities(start_logits).gather(1, place[..., 0])
    joint = joint + log_probabilities(end_logits).gather(1, place[..., 1])
    return -joint.masked_fill(~known, -torch.inf).logsumexp(dim=-1).mean()


def collate(targets: Sequence[Target], pad_id: int) -> dict[str, torch.Tensor]:
    """Stack targets into a batch for the model and `span_loss`."""
    import torch

    windows = [target.window for target in targets]
    lengths = np.array([[len(window)] for window in windows])
    width = int(lengths.max())
    allowed = np.zeros((len(windows), width), dtype=bool)
    allowed[:, 0] = True
    for row, window in enumerate(windows):
        own = slice(window.context_start, window.context_start + len(window.offsets))
        allowed[row, own] = window.offsets[:, 0] < window.offsets[:, 1]
    most = max(1, *(len(target.spans) for target in targets))
    spans = np.full((len(targets), most, 2), -1, dtype=np.int64)
    for row, target in enumerate(targets):
        spans[row, : len(target.spans)] = np.reshape(target.spans, (-1, 2))
    arrays: dict[str, Any] = {
        "input_ids": pad([window.input_ids for window in windows], pad_id),
        "attention_mask": (np.arange(width) < lengths).astype(np.int64),
        "token_type_ids": pad([window.type_ids for window in windows]),
        "allowed": allowed,
        "spans": spans,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
