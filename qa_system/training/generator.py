"""`qa train generator`: questions, texts and answers -> a generator, and a question encoder.

Retrieval-augmented generation as Lewis et al. (2020, https://arxiv.org/abs/2005.11401) train it:
end to end through the marginal probability of the answer, with the passage encoder frozen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Any

from qa_system.config import EncoderSettings
from qa_system.errors import DataError
from qa_system.inference import choose_torch_device, choose_torch_precision, load_tokenizer
from qa_system.models import locate, locate_checkpoint
from qa_system.records import Label
from qa_system.training.denoising import denoising_exercises
from qa_system.training.exercises import Exercise, answer_exercises
from qa_system.training.packages import training_packages
from qa_system.training.record import CHECKPOINTS, claim, write_record
from qa_system.training.retriever import QUESTION_ENCODER
from qa_system.training.settings import GeneratorTraining
from qa_system.training.sources import Part, read_sources

if TYPE_CHECKING:
    import torch

    from qa_system.generators.seq2seq import GeneratorFacts, Seq2Seq
    from qa_system.training.learner import Learner, Weighing

__all__ = ["train_generator"]

START = "start"
"""The folder, among the checkpoints, of a model built of parts."""
PARTS_TEMPLATE = "{question} [SEP] {text}"
"""As a BERT-type reader has them; see `GeneratorTraining.template`."""
PARTS_SCALE = 20.0
QUESTION_LENGTH = 128
"""Tokens that the question encoder reads."""


def train_generator(settings: GeneratorTraining, out: str | Path) -> dict[str, Any]:
    """Train a generator, or go on where an earlier run into the same folder was stopped.

    Args:
        settings: the recipe.
        out: the folder that becomes the model, for `generator.model`; a question encoder that
            was trained with it becomes `out/question-encoder`, for `encoder.question_model`.

    Returns:
        What `training.json` says of the run.

    Raises:
        MissingDependencyError: torch, transformers, accelerate or, for a question encoder,
            sentence-transformers is not installed.
        ModelError: `settings.model` is nothing to start from, or an encoder is none.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    further = ("datasets", "sentence_transformers") if settings.question_encoder else ()
    training_packages(settings.seed, *further)
    from qa_system.generators.seq2seq import GeneratorFacts, load_seq2seq
    from qa_system.training.learner import Learner, answer_f1, lessons_of, trials_of
    from qa_system.training.trainer import fit

    started = monotonic()
    folder = claim(out, settings)
    device = choose_torch_device(settings.device)
    seq2seq = _start(settings, folder, device)
    material = _gather(settings)
    weighing = _weighing(settings, seq2seq.score_scale, device)
    lessons, left_out = lessons_of(
        material.exercises, seq2seq, settings.max_answer_length, weighing
    )
    if not lessons:
        raise DataError(
            "there is nothing to learn from", remedy="Name a source in `train` with answers."
        )
    dev = [trials_of(exercises, seq2seq, weighing) for exercises in material.dev]
    learner = Learner(
        seq2seq, mode=settings.loss, label_smoothing=settings.label_smoothing, weighing=weighing
    ).to(device)
    bf16 = "bfloat16" in str(choose_torch_precision(settings.precision, device))

    def measure(measured: Seq2Seq) -> dict[str, float]:
        sources = [
            answer_f1(learner, measured, trials, settings.max_answer_length) for trials in dev
        ]
        return {name: fmean(source[name] for source in sources) for name in sources[0]}

    def evaluate() -> dict[str, float]:
        import torch

        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return measure(seq2seq)

    history = fit(
        learner,
        lessons,
        length=len,
        collate=learner.collate,
        loss=_loss,
        evaluate=evaluate,
        schedule=settings,
        bf16=bf16,
        out=folder,
    )
    learner.eval()
    facts = GeneratorFacts(
        template=seq2seq.layout.template,
        max_source_length=settings.max_source_length,
        max_answer_length=settings.max_answer_length,
        score_scale=seq2seq.score_scale,
        mode=settings.loss,
        question_encoder=QUESTION_ENCODER if learner.question_encoder is not None else None,
    )
    _save(learner, facts, settings, folder)
    # What counts is what will be loaded, in the precision that it was saved in.
    saved = load_seq2seq(locate(str(folder)), device=settings.device, precision=settings.precision)
    return write_record(
        folder,
        task="generator",
        settings=settings,
        data=material.data,
        scores=measure(saved),
        history=history,
        seconds=monotonic() - started,
        counts=dict(material.counts + left_out) | {"lessons": len(lessons)},
    )


@dataclass(frozen=True)
class _Material:
    """What is learnt from and measured on.

    Args:
        exercises: of all sources.
        dev: exercises to measure on, by source: dev, then what was held out of the training data.
        data: where all that came from.
        counts: of the exercises, by kind.
    """

    exercises: Sequence[Exercise]
    dev: Sequence[Sequence[Exercise]]
    data: Sequence[Mapping[str, Any]]
    counts: Counter[str]


def _gather(settings: GeneratorTraining) -> _Material:
    sources = read_sources(settings.train, settings.dev, settings.seed)
    exercises: list[Exercise] = []
    counts: Counter[str] = Counter(asked_on_dev=sources.asked_on_dev)
    for part in sources.train:
        if settings.objective == "denoise":
            texts = list(dict.fromkeys(label.context for label in part.labels))
            # Drawn again for each time that a text is seen: a weight of 2 gives other gaps.
            of_source = denoising_exercises(
                part.source.weighted(texts, part.seed), settings.noise, part.seed
            )
            exercises += of_source
            counts += Counter(texts=len(texts), stretches=len(of_source))
            continue
        answered, counted = answer_exercises(part.labels, settings.documents)
        exercises += part.source.weighted(answered, part.seed)
        counts += counted
    dev = [_to_measure(part, settings) for part in sources.measured]
    if not dev:
        raise DataError("there is nothing to measure on", remedy="Name a source in `dev`.")
    return _Material(exercises, dev, sources.data, counts)


def _to_measure(part: Part, settings: GeneratorTraining) -> list[Exercise]:
    found, _ = _exercises(part.labels, settings, part.seed)
    if not found:
        raise DataError(
            "none of the questions to measure on has an answer",
            where=part.source.path,
            remedy="Name another source in `dev`.",
        )
    return random.Random(part.seed).sample(found, min(settings.dev_questions, len(found)))


def _exercises(
    labels: Sequence[Label], settings: GeneratorTraining, seed: int
) -> tuple[list[Exercise], Counter[str]]:
    if settings.objective == "answer":
        return answer_exercises(labels, settings.documents)
    texts = dict.fromkeys(label.context for label in labels)
    return denoising_exercises(texts, settings.noise, seed), Counter()


def _start(settings: GeneratorTraining, folder: Path, device: torch.device) -> Seq2Seq:
    """Load what training starts from, in fp32; what is built of parts is written down first."""
    from qa_system.generators.seq2seq import GeneratorFacts, load_seq2seq, write_facts
    from qa_system.training.learner import set_dropout
    from qa_system.training.parts import bart_from_bert

    location = locate_checkpoint(settings.model)
    if settings.decoder_layers is not None:
        built = folder / CHECKPOINTS / START
        bart_from_bert(location, settings.decoder_layers).save_pretrained(built)
        load_tokenizer(location.path).save(str(built / "tokenizer.json"), pretty=False)
        write_facts(built, GeneratorFacts(PARTS_TEMPLATE, score_scale=PARTS_SCALE))
        location = replace(location, path=built)
    seq2seq = load_seq2seq(
        location,
        device=str(device),
        precision="fp32",
        template=settings.template,
        max_source_length=settings.max_source_length,
        score_scale=settings.score_scale,
    )
    set_dropout(seq2seq.model, settings.dropout)
    # The fused kernel is slower than its parts on a CPU; see `training.reader`.
    seq2seq.model.set_attn_implementation("sdpa" if device.type == "cuda" else "eager")
    return seq2seq


def _weighing(settings: GeneratorTraining, scale: float, device: torch.device) -> Weighing | None:
    from qa_system.training.learner import Weighing

    passages = settings.passage_encoder or settings.question_encoder
    if passages is None:
        return None
    from qa_system.retrievers.encoders import load_encoder

    tower = None
    if settings.question_encoder is not None:
        from qa_system.training import towers

        location = locate_checkpoint(settings.question_encoder)
        tower = towers.start(location, QUESTION_LENGTH, device, seed=settings.seed, role="question")
    encoder = load_encoder(EncoderSettings(model=passages, device=settings.device))
    return Weighing(encoder, tower, scale)


def _loss(learner: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss: torch.Tensor = learner(batch)
    return loss


def _save(
    learner: Learner, facts: GeneratorFacts, settings: GeneratorTraining, folder: Path
) -> None:
    import torch

    from qa_system.generators.seq2seq import write_facts

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[settings.save_precision]
    learner.seq2seq.model.to(dtype).save_pretrained(folder)
    learner.seq2seq.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_facts(folder, facts)
    if learner.question_encoder is not None:
        from qa_system.training import towers

        towers.save(learner.question_encoder, folder / QUESTION_ENCODER)
