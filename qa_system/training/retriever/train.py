"""`qa train retriever`: questions and passages -> encoders that bring them together.

Dual encoders as in DPR (Karpukhin et al., 2020, https://arxiv.org/abs/2004.04906): one tower for
both sides, or two.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any

from qa_system.inference import choose_torch_device, choose_torch_precision
from qa_system.models import locate_checkpoint
from qa_system.training.recipes import RetrieverTraining
from qa_system.training.record import claim, write_record
from qa_system.training.requirements import training_packages
from qa_system.training.retriever.evaluate import measure_ranking
from qa_system.training.retriever.sources import gather, lessons_of

__all__ = ["PASSAGE_ENCODER", "QUESTION_ENCODER", "train_retriever"]

QUESTION_ENCODER = "question-encoder"
PASSAGE_ENCODER = "passage-encoder"


def train_retriever(settings: RetrieverTraining, out: str | Path) -> dict[str, Any]:
    """Train an encoder, or go on where an earlier run into the same folder was stopped.

    Args:
        settings: the recipe.
        out: the folder that becomes the model, for `encoder.model`; of two towers they become
            `out/passage-encoder`, for `encoder.model`, and `out/question-encoder`, for
            `encoder.question_model`.

    Returns:
        What `training.json` says of the run.

    Raises:
        MissingDependencyError: torch, sentence-transformers, accelerate or datasets is not
            installed.
        ModelError: the model is nothing to start from, or the teacher is none.
        DataError: a data set or split is not there, or has nothing to learn from.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    training_packages(settings.seed, "datasets", "sentence_transformers")
    from qa_system.training.retriever import bi_encoder

    started = monotonic()
    folder = claim(out, settings)
    device = choose_torch_device(settings.device)
    model = bi_encoder.start(
        locate_checkpoint(settings.model), settings.max_seq_length, device, seed=settings.seed
    )
    material = gather(settings, bi_encoder.reach_of(model))
    lessons, counts = lessons_of(material, settings, folder)
    if settings.towers == "two":
        model = bi_encoder.parted(model)
    history = bi_encoder.fit(
        model,
        lessons,
        evaluate=lambda: measure_ranking(material.contests, *bi_encoder.encoders_of(model)),
        settings=settings,
        bf16="bfloat16" in str(choose_torch_precision(settings.precision, device)),
        out=folder,
    )
    scores = measure_ranking(material.contests, *bi_encoder.encoders_of(model))
    if settings.towers == "two":
        questions, passages = bi_encoder.halves(model)
        bi_encoder.save(questions, folder / QUESTION_ENCODER)
        bi_encoder.save(passages, folder / PASSAGE_ENCODER)
    else:
        bi_encoder.save(model, folder)
    return write_record(
        folder,
        task="retriever",
        settings=settings,
        data=material.data,
        scores=scores,
        history=history,
        seconds=monotonic() - started,
        counts=counts,
    )
