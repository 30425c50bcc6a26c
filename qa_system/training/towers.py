"""Encoders in training, by sentence-transformers: one tower for both sides, or two.

Importing this module imports torch and sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
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

from qa_system.errors import ModelError
from qa_system.models import ModelLocation
from qa_system.retrievers.sentence_models import Role, check_role, load_sentence_model
from qa_system.tokenizing import take_literally
from qa_system.training.evaluator import Evaluator
from qa_system.training.loop import run
from qa_system.training.pairs import Triple
from qa_system.training.pseudo import Judged
from qa_system.training.settings import RetrieverTraining

__all__ = ["encoders_of", "fit", "halves", "parted", "reach_of", "save", "start"]

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
    """Load what training starts from; an encoder that does not say how it pools gets the mean.

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
    if loaded.positions is not None and max_seq_length > loaded.positions:
        raise ModelError(
            f"{location.name!r} has {loaded.positions} positions, fewer than {max_seq_length}",
            where="max_seq_length",
            remedy=f"Set at most {loaded.positions}.",
        )
    loaded.model.max_seq_length = max_seq_length
    return loaded.model


def reach_of(model: SentenceTransformer) -> Callable[[str], int]:
    """Give what counts the characters of a text that the model reads."""
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


def parted(model: SentenceTransformer) -> SentenceTransformer:
    """Make two towers of one, alike to begin with: questions through one, passages the other."""
    modules = list(model)
    router = Router.for_query_document(deepcopy(modules), modules)
    return SentenceTransformer(
        modules=[router],
        device=str(model.device),
        local_files_only=True,  # else its card looks for the base model on the Hub
        prompts=dict(model.prompts),
        similarity_fn_name=model.similarity_fn_name,
    )


def halves(model: SentenceTransformer) -> tuple[SentenceTransformer, SentenceTransformer]:
    """Give the towers of what `parted` made: the questions', and the passages'."""
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
    """Write what `load_encoder` and `qa export` take; the card is the record's."""
    model.save_pretrained(str(folder), create_model_card=False)


Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def encoders_of(model: SentenceTransformer) -> tuple[Encode, Encode]:
    """Give what turns questions, and what turns passages, into unit vectors (n, dimension)."""
    options = {
        "batch_size": CPU_BATCH if model.device.type == "cpu" else GPU_BATCH,
        "normalize_embeddings": True,
        "show_progress_bar": False,
    }

    def encode(texts: Sequence[str], by: Callable[..., Any]) -> NDArray[np.float32]:
        return np.asarray(by(list(texts), **options), np.float32)

    return partial(encode, by=model.encode_query), partial(encode, by=model.encode_document)


def fit(
    model: SentenceTransformer,
    rows: Sequence[Triple] | Sequence[Judged],
    *,
    evaluate: Callable[[], Mapping[str, float]],
    settings: RetrieverTraining,
    bf16: bool,
    out: Path,
) -> list[dict[str, float]]:
    """Train an encoder, or go on where a run into the same folder was stopped.

    Triples: a softmax over the question's passage, its negatives, and all passages of the batch
    (van den Oord et al., 2018, https://arxiv.org/abs/1807.03748; Karpukhin et al., 2020). No text
    occurs twice in a batch, so that no question's passage is its own negative. Judged passages:
    the divergence of the teacher's softmax over them from the encoder's (Lin et al., 2020,
    https://arxiv.org/abs/2010.11386). GPL's margins are not matched instead, because a cosine
    cannot differ as much as a teacher's scores.

    When all is done, or `evaluate` has not found a better `mrr` for `settings.patience` times,
    the model has the weights with the best one.

    Args:
        model: one tower, or what `parted` gave.
        rows: what an epoch goes through.
        evaluate: measures the model as it stands; `mrr` is among what it gives.
        settings: the recipe.
        bf16: whether products are taken in bf16 (weights stay in fp32).
        out: where checkpoints stand, in the folder `checkpoints`.

    Returns:
        What was logged: `loss`, and `eval_mrr` and the like, each with its `step` and `epoch`.
    """
    judged = [row for row in rows if isinstance(row, Judged)]
    told = [row for row in rows if isinstance(row, Triple)]
    dataset, loss = _judging(model, judged, settings) if judged else _telling(model, told, settings)
    columns = [name for name in dataset.column_names if name != "label"]
    return run(
        partial(
            _Trainer,
            model=model,
            train_dataset=dataset,
            loss=loss,
            evaluator=Evaluator(evaluate, SCORE),
        ),
        SentenceTransformerTrainingArguments,
        rows=len(rows),
        schedule=settings,
        score=SCORE,
        bf16=bf16,
        on_cpu=model.device.type == "cpu",
        out=out,
        batch_sampler=BatchSamplers.BATCH_SAMPLER if judged else BatchSamplers.NO_DUPLICATES,
        router_mapping={name: "query" if name == QUESTION else "document" for name in columns}
        if isinstance(model[0], Router)
        else {},
        prompts={
            name: model.prompts.get("query" if name == QUESTION else "document") or ""
            for name in columns
        },
    )


def _telling(
    model: SentenceTransformer, rows: Sequence[Triple], settings: RetrieverTraining
) -> tuple[Dataset, torch.nn.Module]:
    columns = {
        QUESTION: [row.question for row in rows],
        "positive": [row.positive for row in rows],
    }
    for place in range(len(rows[0].negatives)):
        columns[f"negative_{place + 1}"] = [row.negatives[place] for row in rows]
    if settings.chunk_size is None:
        loss = MultipleNegativesRankingLoss(model, scale=settings.scale)
    else:
        loss = CachedMultipleNegativesRankingLoss(
            model, scale=settings.scale, mini_batch_size=settings.chunk_size
        )
    return Dataset.from_dict(columns), loss


def _judging(
    model: SentenceTransformer, rows: Sequence[Judged], settings: RetrieverTraining
) -> tuple[Dataset, torch.nn.Module]:
    columns: dict[str, list[Any]] = {QUESTION: [row.question for row in rows]}
    for place in range(len(rows[0].passages)):
        columns[f"passage_{place + 1}"] = [row.passages[place] for row in rows]
    columns["label"] = [list(row.scores) for row in rows]

    def similarity(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = settings.scale * pairwise_cos_sim(left, right)
        return scores

    loss = DistillKLDivLoss(
        model,
        similarity_fct=similarity,
        teacher_temperature=1.0 if settings.teacher is None else settings.teacher.temperature,
    )
    return Dataset.from_dict(columns), loss


class _Trainer(SentenceTransformerTrainer):  # type: ignore[misc]  # not typed
    """The stock trainer, without what it gathers for a model card: ours is the record's."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        del default_args_dict
