"""A cross-encoder in training, by sentence-transformers' `CrossEncoderTrainer`.

Importing this module imports torch, transformers, datasets and sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, ListNetLoss

from qa_system.models.checkpoints import has_token_types
from qa_system.models.locate import ModelLocation
from qa_system.models.positions import check_length
from qa_system.rankers.cross_encoder import open_cross_encoder
from qa_system.readers.windows import MINIMUM_CONTEXT
from qa_system.training.evaluator import Evaluator
from qa_system.training.loop import train
from qa_system.training.ranker.examples import Example
from qa_system.training.run import Run
from qa_system.training.sources import Fits

__all__ = ["fit", "fits_of", "rows_of", "start"]

CERTAIN = 20.0
"""Relevance of a text that answers, where that of the others is 0: ListNet aims at the softmax of
the relevances, which with 1 and 0 would leave an answer among nine texts a quarter of the mass."""

PAIRS_AT_ONCE = 8
"""Of a listwise step's pairs, those that are padded to one length."""


def start(location: ModelLocation, max_seq_length: int, device: torch.device) -> CrossEncoder:
    """Load what training starts from; the head of a plain encoder is initialised at random.

    Args:
        location: a checkpoint, with weights in safetensors.
        max_seq_length: tokens of question and text.
        device: where it is trained.

    Raises:
        ModelError: no ranker can start from it, or it has fewer positions.
    """
    model, positions = open_cross_encoder(
        location,
        str(device),
        remedy="Name an encoder, a reader or a cross-encoder, in safetensors.",
        new_head=True,
        num_labels=1,
        max_length=max_seq_length,
        model_kwargs={
            # A reader's head may have the same name, and two outputs.
            "ignore_mismatched_sizes": True,
            # The fused kernel is slower than the plain one on a CPU, as for a reader.
            **({} if device.type == "cuda" else {"attn_implementation": "eager"}),
        },
        config_kwargs={"attention_probs_dropout_prob": 0.0},
    )
    names = model.tokenizer.model_input_names
    if has_token_types(model.model.config) and "token_type_ids" not in names:
        # Without them the model would not be told which tokens are the question's.
        model.tokenizer.model_input_names = [*names, "token_type_ids"]
        # That alone is not saved.
        model.tokenizer.init_kwargs["model_input_names"] = [*names, "token_type_ids"]
    check_length("max_seq_length", max_seq_length, positions, str(location.path))
    return model


def fits_of(model: CrossEncoder, max_seq_length: int) -> Fits:
    """Return what tells which questions leave room for a text, as a reader counts it.

    A longer question is cut, together with the text, and what is left asks something else.
    """
    specials = model.tokenizer.num_special_tokens_to_add(pair=True)
    least = min(MINIMUM_CONTEXT, max_seq_length // 2 - specials)

    def fits(questions: Sequence[str]) -> list[bool]:
        ids = model.tokenizer(list(questions), add_special_tokens=False)["input_ids"]
        return [max_seq_length - specials - len(each) >= least for each in ids]

    return fits


def fit(
    model: CrossEncoder,
    examples: Sequence[Example],
    *,
    loss: Literal["listwise", "pointwise"],
    evaluate: Callable[[], Mapping[str, float]],
    run: Run,
) -> list[dict[str, float]]:
    """Train a cross-encoder, or go on where a run into the same folder was stopped.

    Losses: ListNet (Cao et al., 2007, "Learning to Rank: From Pairwise Approach to Listwise
    Approach") with a question's relevant texts sharing all the mass; or binary cross-entropy.
    At the end the model has the weights with the best `mrr`.

    Args:
        model: on the run's device.
        examples: what an epoch goes through.
        loss: which of the two.
        evaluate: measures the model as it stands; `mrr` is among what it returns.
        run: where checkpoints stand, how long, how fast.

    Returns:
        What was logged: `loss` every so many steps, `eval_mrr` and the like at each measurement,
        each with its `step` and `epoch`.
    """
    rows = rows_of(examples, loss)
    loss_function = (
        ListNetLoss(model, mini_batch_size=PAIRS_AT_ONCE)
        if loss == "listwise"
        else BinaryCrossEntropyLoss(model)
    )
    return train(
        partial(
            CrossEncoderTrainer,
            model=model,
            train_dataset=rows,
            loss=loss_function,
            evaluator=Evaluator(evaluate, "mrr"),
        ),
        run,
        rows=len(rows),
        score="mrr",
        kind=CrossEncoderTrainingArguments,
    )


def rows_of(examples: Sequence[Example], loss: str) -> Dataset:
    """Return what the loss takes: a row is an example, or a pair of question and text.

    >>> examples = [Example("q", ("a", "b"), (True, False))]
    >>> rows_of(examples, "listwise").to_list()
    [{'question': 'q', 'texts': ['a', 'b'], 'labels': [20.0, 0.0]}]
    >>> rows_of(examples, "pointwise").to_list()[1]
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
                for each in examples
            ]
        )
    return Dataset.from_list(
        [
            {"question": each.question, "text": text, "label": float(relevant)}
            for each in examples
            for text, relevant in zip(each.texts, each.relevant, strict=True)
        ]
    )
