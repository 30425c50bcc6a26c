"""A bi-encoder in training, by sentence-transformers: one encoder for both sides, or one for each.

Importing this module imports torch and sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Router
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    DistillKLDivLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import pairwise_cos_sim
from tokenizers import Tokenizer
from transformers import set_seed

from qa_system.models.locate import ModelLocation
from qa_system.models.positions import check_length
from qa_system.models.tokenizing import take_literally
from qa_system.retrievers.sentence_models import Role, check_role, load_sentence_model
from qa_system.training.evaluator import Evaluator
from qa_system.training.loop import train
from qa_system.training.retriever.examples import Triple
from qa_system.training.retriever.pseudo_labels import Judged
from qa_system.training.run import Run

__all__ = [
    "Loss",
    "encode_functions",
    "encoders_of",
    "fit",
    "reach_of",
    "save",
    "start",
    "untied",
]

CPU_BATCH, GPU_BATCH = 8, 256
"""Texts encoded at once: on a CPU small batches are several times faster than the usual 32."""

QUESTION = "question"
SCORE = "mrr"


def start(
    location: ModelLocation,
    max_seq_length: int,
    device: torch.device,
    *,
    seed: int,
    role: Role | None = None,
) -> SentenceTransformer:
    """Load what training starts from; an encoder that does not say how it pools takes the mean.

    Args:
        location: a checkpoint, with weights in safetensors.
        max_seq_length: tokens that are read of a text.
        device: where it is trained.
        seed: of all that is drawn from here on.
        role: what it is to encode, if that is not for the training to say.

    Raises:
        ModelError: it is no encoder, or for the other role, or has fewer positions.
    """
    set_seed(seed)
    loaded = load_sentence_model(
        location,
        device=device,
        model_options={"dtype": torch.float32},
        # On a CPU dropout of the attention costs a third of the time.
        config_options={"attention_probs_dropout_prob": 0.0},
    )
    if role is not None:
        check_role(location, loaded.role, role)
    check_length("max_seq_length", max_seq_length, loaded.positions, str(location.path))
    loaded.model.max_seq_length = max_seq_length
    return loaded.model


def reach_of(model: SentenceTransformer) -> Callable[[str], int]:
    """Return a function that counts the characters of a text that the model reads."""
    tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    take_literally(tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.max_seq_length)

    def reach(text: str) -> int:
        encoding = tokenizer.encode(text)
        if not encoding.overflowing:
            return len(text)
        return max(end for _, end in encoding.offsets)

    return reach


def untied(model: SentenceTransformer) -> SentenceTransformer:
    """Return a bi-encoder of two encoders, alike to begin with: for questions, and for passages."""
    modules = list(model)
    router = Router.for_query_document(deepcopy(modules), modules)
    return SentenceTransformer(
        modules=[router],
        device=str(model.device),
        local_files_only=True,  # else its card looks for the base model on the Hub
        prompts=dict(model.prompts),
        similarity_fn_name=model.similarity_fn_name,
    )


def encoders_of(model: SentenceTransformer) -> tuple[SentenceTransformer, SentenceTransformer]:
    """Return the question encoder and the passage encoder of what `untied` returned."""
    questions, passages = (
        SentenceTransformer(
            modules=list(model[0].sub_modules[route]),
            device=str(model.device),
            prompts=dict(model.prompts),
            similarity_fn_name=model.similarity_fn_name,
        )
        for route in ("query", "document")
    )
    return questions, passages


def save(model: SentenceTransformer, folder: Path) -> None:
    """Write a model for `load_encoder` and `qa export`; the card is the record's."""
    model.save_pretrained(str(folder), create_model_card=False)


Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def encode_functions(model: SentenceTransformer) -> tuple[Encode, Encode]:
    """Return functions that turn questions, and passages, into unit vectors (n, dimension)."""
    options = {
        "batch_size": CPU_BATCH if model.device.type == "cpu" else GPU_BATCH,
        "normalize_embeddings": True,
        "show_progress_bar": False,
    }

    def encode(texts: Sequence[str], by: Callable[..., Any]) -> NDArray[np.float32]:
        return np.asarray(by(list(texts), **options), np.float32)

    return partial(encode, by=model.encode_query), partial(encode, by=model.encode_document)


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss is computed with.

    Args:
        scale: cosines are multiplied by it before the softmax.
        chunk_size: triples that go through the model at once; None: all of a batch.
        teacher_temperature: the teacher's scores are divided by it.
    """

    scale: float
    chunk_size: int | None = None
    teacher_temperature: float = 1.0


def fit(
    model: SentenceTransformer,
    examples: Sequence[Triple] | Sequence[Judged],
    *,
    loss: Loss,
    evaluate: Callable[[], Mapping[str, float]],
    run: Run,
) -> list[dict[str, float]]:
    """Train an encoder, or go on where a run into the same folder was stopped.

    Triples: a softmax over the question's passage, its negatives, and all passages of the batch
    (van den Oord et al., 2018, https://arxiv.org/abs/1807.03748; Karpukhin et al., 2020). No text
    occurs twice in a batch, so that no question's passage is its own negative. Judged passages:
    the divergence of the teacher's softmax over them from the encoder's (Lin et al., 2020,
    https://arxiv.org/abs/2010.11386). GPL's margins are not matched instead, because a cosine
    cannot differ as much as a teacher's scores.

    When all is done, or `evaluate` has not found a better `mrr` for `schedule.patience` times,
    the model has the weights with the best one.

    Args:
        model: one encoder, or what `untied` returned.
        examples: what an epoch goes through.
        loss: what it is computed with.
        evaluate: measures the model as it stands; `mrr` is among what it returns.
        run: where checkpoints stand, how long, how fast.

    Returns:
        What was logged: `loss`, and `eval_mrr` and the like, each with its `step` and `epoch`.
    """
    judged = [example for example in examples if isinstance(example, Judged)]
    triples = [example for example in examples if isinstance(example, Triple)]
    dataset = _judged_rows(judged) if judged else _triple_rows(triples)
    loss_function = _distillation_loss(model, loss) if judged else _contrastive_loss(model, loss)
    routes = {
        name: "query" if name == QUESTION else "document"
        for name in dataset.column_names
        if name != "label"
    }
    return train(
        partial(
            _Trainer,
            model=model,
            train_dataset=dataset,
            loss=loss_function,
            evaluator=Evaluator(evaluate, SCORE),
        ),
        run,
        rows=len(examples),
        score=SCORE,
        kind=SentenceTransformerTrainingArguments,
        batch_sampler=BatchSamplers.BATCH_SAMPLER if judged else BatchSamplers.NO_DUPLICATES,
        router_mapping=routes if isinstance(model[0], Router) else {},
        prompts={name: model.prompts.get(route) or "" for name, route in routes.items()},
    )


def _triple_rows(triples: Sequence[Triple]) -> Dataset:
    columns = {
        QUESTION: [triple.question for triple in triples],
        "positive": [triple.positive for triple in triples],
    }
    for place in range(len(triples[0].negatives)):
        columns[f"negative_{place + 1}"] = [triple.negatives[place] for triple in triples]
    return Dataset.from_dict(columns)


def _judged_rows(judged: Sequence[Judged]) -> Dataset:
    columns: dict[str, list[Any]] = {QUESTION: [each.question for each in judged]}
    for place in range(len(judged[0].passages)):
        columns[f"passage_{place + 1}"] = [each.passages[place] for each in judged]
    columns["label"] = [list(each.scores) for each in judged]
    return Dataset.from_dict(columns)


def _contrastive_loss(model: SentenceTransformer, loss: Loss) -> Any:
    if loss.chunk_size is None:
        return MultipleNegativesRankingLoss(model, scale=loss.scale)
    return CachedMultipleNegativesRankingLoss(
        model, scale=loss.scale, mini_batch_size=loss.chunk_size
    )


def _distillation_loss(model: SentenceTransformer, loss: Loss) -> Any:
    def similarity(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = loss.scale * pairwise_cos_sim(left, right)
        return scores

    return DistillKLDivLoss(
        model, similarity_fct=similarity, teacher_temperature=loss.teacher_temperature
    )


class _Trainer(SentenceTransformerTrainer):  # type: ignore[misc]  # not typed
    """The stock trainer, without what it gathers for a model card: ours is the record's."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        del default_args_dict
