"""How a cross-encoder learns an order: sentence-transformers' `CrossEncoderTrainer`.

Importing this module imports torch, transformers, datasets and sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, ListNetLoss

from qa_system.training.evaluator import Evaluator
from qa_system.training.loop import run
from qa_system.training.ranker.examples import TextList
from qa_system.training.recipes import RankerTraining

__all__ = ["fit", "rows_of"]

CERTAIN = 20.0
"""Relevance of a text that answers, where that of the others is 0: ListNet aims at the softmax of
the relevances, which with 1 and 0 would leave an answer among nine texts a quarter of the mass."""

PAIRS_AT_ONCE = 8
"""Of a listwise step's pairs, those that are padded to one length."""


def fit(
    model: CrossEncoder,
    lists: Sequence[TextList],
    *,
    evaluate: Callable[[], Mapping[str, float]],
    settings: RankerTraining,
    bf16: bool,
    out: Path,
) -> list[dict[str, float]]:
    """Train a cross-encoder, or go on where a run into the same folder was stopped.

    Losses: ListNet (Cao et al., 2007, "Learning to Rank: From Pairwise Approach to Listwise
    Approach") with a question's relevant texts sharing all the mass; or binary cross-entropy.
    At the end the model has the weights with the best `mrr`.

    Args:
        model: on the device that it is trained on.
        lists: what an epoch goes through.
        evaluate: measures the model as it stands; `mrr` is among what it gives.
        settings: how long, how fast, from which seed, by which loss.
        bf16: whether products are taken in bf16 (weights stay in fp32).
        out: where checkpoints stand, in the folder `checkpoints`.

    Returns:
        What was logged: `loss` every so many steps, `eval_mrr` and the like at each measurement,
        each with its `step` and `epoch`.
    """
    rows = rows_of(lists, settings.loss)
    loss = (
        ListNetLoss(model, mini_batch_size=PAIRS_AT_ONCE)
        if settings.loss == "listwise"
        else BinaryCrossEntropyLoss(model)
    )
    return run(
        partial(
            CrossEncoderTrainer,
            model=model,
            train_dataset=rows,
            loss=loss,
            evaluator=Evaluator(evaluate, "mrr"),
        ),
        CrossEncoderTrainingArguments,
        rows=len(rows),
        schedule=settings,
        score="mrr",
        bf16=bf16,
        on_cpu=model.device.type == "cpu",
        out=out,
    )


def rows_of(lists: Sequence[TextList], loss: str) -> Dataset:
    """Lay lists out as the loss takes them: a row is a list, or a pair of question and text.

    >>> lists = [TextList("q", ("a", "b"), (True, False))]
    >>> rows_of(lists, "listwise").to_list()
    [{'question': 'q', 'texts': ['a', 'b'], 'labels': [20.0, 0.0]}]
    >>> rows_of(lists, "pointwise").to_list()[1]
    {'question': 'q', 'text': 'b', 'label': 0.0}
    """
    if loss == "listwise":
        return Dataset.from_list(
            [
                {
                    "question": each.question,
                    "texts": list(each.texts),
                    "labels": [CERTAIN * relevant for relevant in each.relevant],
                }
                for each in lists
            ]
        )
    return Dataset.from_list(
        [
            {"question": each.question, "text": text, "label": float(relevant)}
            for each in lists
            for text, relevant in zip(each.texts, each.relevant, strict=True)
        ]
    )
