"""`qa train generator`: questions, texts and answers -> a generator, and a question encoder.

Retrieval-augmented generation as Lewis et al. (2020, https://arxiv.org/abs/2005.11401) train it:
end to end through the marginal probability of the answer, with the passage encoder frozen.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.config import EncoderSettings
from qa_system.errors import DataError
from qa_system.models.locate import locate, locate_checkpoint
from qa_system.models.positions import check_length
from qa_system.training.generator.bart_from_bert import build
from qa_system.training.generator.denoising import denoising_examples
from qa_system.training.generator.examples import Example, answer_examples
from qa_system.training.generator.questions import question_examples
from qa_system.training.generator.tokens import fits_of, learnable_tokens
from qa_system.training.recipes import GeneratorTraining
from qa_system.training.record import write_record
from qa_system.training.retriever.train import QUESTION_ENCODER
from qa_system.training.run import Run, begin
from qa_system.training.sources import Material, Part, Sources, gather, read_sources

if TYPE_CHECKING:
    import torch

    from qa_system.generators.seq2seq import Seq2Seq
    from qa_system.training.generator.model import RagModel
    from qa_system.training.generator.prior import Prior

__all__ = ["train_generator"]

START = "start"
"""The folder, among the checkpoints, of a model built of an encoder."""
QUESTION_LENGTH = 128
"""Tokens that the question encoder reads."""


def train_generator(recipe: GeneratorTraining, out: str | Path) -> dict[str, Any]:
    """Train a generator, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model, for `generator.model`; a question encoder that
            was trained with it becomes `out/question-encoder`, for `encoder.question_model`.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, transformers, accelerate or, for a question encoder,
            sentence-transformers is not installed.
        ModelError: `recipe.model` is nothing to start from, or has fewer positions.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    packages = ("datasets", "sentence_transformers") if recipe.question_encoder else ()
    run = begin(recipe, out, *packages)
    from qa_system.generators.seq2seq import load_seq2seq
    from qa_system.training.generator.evaluate import dev_examples, measure
    from qa_system.training.generator.model import RagModel
    from qa_system.training.trainer import TrainingSet, fit

    seq2seq = _start(recipe, run)
    # Where the source holds an answer or noise, it does not hold the question.
    fits = fits_of(seq2seq) if recipe.objective == "answer" else None
    sources = read_sources(recipe.train, recipe.dev, recipe.seed, fits)
    material = _gather(sources, recipe)
    prior = _prior(recipe, seq2seq.score_scale, run)
    longest = recipe.max_answer_length
    examples, left_out = learnable_tokens(material.examples, seq2seq, longest, prior)
    dev = [dev_examples(each, seq2seq, prior) for each in material.measured]
    model = RagModel(
        seq2seq, mode=recipe.loss, label_smoothing=recipe.label_smoothing, prior=prior
    ).to(run.device)

    def evaluate() -> dict[str, float]:
        import torch

        with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bf16):
            return measure(model, seq2seq, dev, longest)

    history = fit(
        model, TrainingSet(examples, len, model.collate, _loss), evaluate=evaluate, run=run
    )
    model.eval()
    _save(model, recipe, run.folder)
    # What counts is what will be loaded, in the precision that it was saved in.
    location = locate(str(run.folder))
    saved = load_seq2seq(location, device=recipe.device, precision=recipe.precision)
    return write_record(
        run,
        task="generator",
        data=material.data,
        scores=measure(model, saved, dev, longest),
        history=history,
        counts=dict(material.counts + left_out) | {"lessons": len(examples)},
    )


def _start(recipe: GeneratorTraining, run: Run) -> Seq2Seq:
    from qa_system.training.generator.model import start

    location = locate_checkpoint(recipe.model)
    if recipe.decoder_layers is not None:
        location = build(location, recipe.decoder_layers, run.checkpoints / START)
    seq2seq = start(
        location,
        run.device,
        dropout=recipe.dropout,
        template=recipe.template,
        max_source_length=recipe.max_source_length,
        score_scale=recipe.score_scale,
    )
    where = str(location.path)
    check_length("max_answer_length", recipe.max_answer_length, seq2seq.positions, where)
    return seq2seq


def _prior(recipe: GeneratorTraining, scale: float, run: Run) -> Prior | None:
    from qa_system.training.generator.prior import Prior

    passages = recipe.passage_encoder or recipe.question_encoder
    if passages is None:
        return None
    from qa_system.retrievers.encoders import load_encoder

    question_encoder = None
    if recipe.question_encoder is not None:
        from qa_system.training.retriever import bi_encoder

        location = locate_checkpoint(recipe.question_encoder)
        question_encoder = bi_encoder.start(
            location, QUESTION_LENGTH, run.device, seed=recipe.seed, role="question"
        )
    partner = None if passages == recipe.question_encoder else recipe.question_encoder
    encoder = load_encoder(
        EncoderSettings(model=passages, question_model=partner, device=recipe.device)
    )
    return Prior(encoder, question_encoder, scale)


def _gather(sources: Sources, recipe: GeneratorTraining) -> Material[Example, list[Example]]:
    """Turn sources into examples: of answers, of questions, or of texts alone with noise."""

    def examples_of(part: Part) -> tuple[list[Example], Counter[str]]:
        if recipe.objective == "denoise":
            texts = _texts(part)
            # Drawn again for each time that a text is seen: a weight of 2 gives other gaps.
            seen = part.source.weighted(texts, part.seed)
            examples = denoising_examples(seen, recipe.noise, part.seed)
            return examples, Counter(texts=len(texts), stretches=len(examples))
        if recipe.objective == "question":
            found, counts = question_examples(part.labels)
        else:
            found, counts = answer_examples(part.labels, recipe.documents)
        return part.source.weighted(found, part.seed), counts

    def measured_of(part: Part) -> list[Example]:
        once = part.source.model_copy(update={"weight": 1.0})
        found, _ = examples_of(replace(part, source=once))
        if not found:
            raise DataError(
                "none of the questions to measure on has an answer",
                where=part.source.path,
                remedy="Name another source in `dev`.",
            )
        return random.Random(part.seed).sample(found, min(recipe.dev_questions, len(found)))

    return gather(sources, examples_of, measured_of)


def _texts(part: Part) -> list[str]:
    return list(dict.fromkeys(label.context for label in part.labels))


def _loss(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss: torch.Tensor = model(batch)
    return loss


def _save(model: RagModel, recipe: GeneratorTraining, folder: Path) -> None:
    from qa_system.generators.facts import GeneratorFacts
    from qa_system.training.generator.model import save

    seq2seq = model.seq2seq
    facts = GeneratorFacts(
        template=seq2seq.layout.template,
        max_source_length=recipe.max_source_length,
        max_answer_length=recipe.max_answer_length,
        score_scale=seq2seq.score_scale,
        mode=recipe.loss,
        question_encoder=None if model.question_encoder is None else QUESTION_ENCODER,
        writes="questions" if recipe.objective == "question" else "answers",
    )
    save(seq2seq, facts, recipe.save_precision, folder)
    if model.question_encoder is not None:
        from qa_system.training.retriever import bi_encoder

        bi_encoder.save(model.question_encoder, folder / QUESTION_ENCODER)
