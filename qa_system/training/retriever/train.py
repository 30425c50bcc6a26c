"""`qa train retriever`: questions and passages -> encoders that bring them together.

Bi-encoders as in DPR (Karpukhin et al., 2020, https://arxiv.org/abs/2004.04906): questions and
passages share an encoder, or have one each.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from qa_system.errors import DataError
from qa_system.models.locate import locate_checkpoint
from qa_system.training.recipes import RetrieverTraining
from qa_system.training.record import write_record
from qa_system.training.retriever.evaluate import contest_of, measure
from qa_system.training.retriever.examples import (
    Cut,
    Pair,
    Triple,
    labelled_pairs,
    passage_cutter,
    triples_of,
)
from qa_system.training.retriever.pseudo_labels import Judged, cloze_pairs, judged_passages
from qa_system.training.retriever.sources import Corpora, Corpus, read_corpora
from qa_system.training.run import Run, begin

__all__ = ["PASSAGE_ENCODER", "QUESTION_ENCODER", "train_retriever"]

QUESTION_ENCODER = "question-encoder"
PASSAGE_ENCODER = "passage-encoder"
JUDGED = "judged.json"


def train_retriever(recipe: RetrieverTraining, out: str | Path) -> dict[str, Any]:
    """Train an encoder, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model, for `encoder.model`; two encoders become
            `out/passage-encoder`, for `encoder.model`, and `out/question-encoder`, for
            `encoder.question_model`.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, sentence-transformers, accelerate or datasets is not
            installed.
        ModelError: the model is nothing to start from, or the teacher is none.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    run = begin(recipe, out, "datasets", "sentence_transformers")
    from qa_system.training.retriever import bi_encoder

    location = locate_checkpoint(recipe.model)
    model = bi_encoder.start(location, recipe.max_seq_length, run.device, seed=recipe.seed)
    lengths = recipe.passages
    reach = bi_encoder.reach_of(model)
    cut = passage_cutter(lengths.max_words, lengths.overlap_words, reach)
    corpora = read_corpora(
        recipe.train,
        recipe.dev,
        recipe.seed,
        labelled=recipe.labels == "given",
        fits=lambda questions: [reach(question) == len(question) for question in questions],
    )
    contests = [contest_of(part.labels, part.dataset.reviews, cut) for part in corpora.measured]
    examples, counts = _examples(recipe, corpora, cut, run)
    if recipe.towers == "two":
        model = bi_encoder.untied(model)
    history = bi_encoder.fit(
        model,
        examples,
        loss=bi_encoder.Loss(
            recipe.scale,
            recipe.chunk_size,
            1.0 if recipe.teacher is None else recipe.teacher.temperature,
        ),
        evaluate=lambda: measure(contests, *bi_encoder.encode_functions(model)),
        run=run,
    )
    scores = measure(contests, *bi_encoder.encode_functions(model))
    if recipe.towers == "two":
        for name, encoder in zip(
            (QUESTION_ENCODER, PASSAGE_ENCODER), bi_encoder.encoders_of(model), strict=True
        ):
            bi_encoder.save(encoder, run.folder / name)
    else:
        bi_encoder.save(model, run.folder)
    return write_record(
        run, task="retriever", data=corpora.data, scores=scores, history=history, counts=counts
    )


def _examples(
    recipe: RetrieverTraining, corpora: Corpora, cut: Cut, run: Run
) -> tuple[list[Triple] | list[Judged], dict[str, int]]:
    """Return what one epoch goes through, and counts by kind."""
    counts = Counter(asked_on_dev=corpora.asked_on_dev)
    if corpora.too_long:
        counts["question_too_long"] = corpora.too_long
    examples: list[Triple] | list[Judged]
    if recipe.teacher is not None:
        kept = run.checkpoints / JUDGED
        examples = judged_passages(corpora.train, recipe.teacher, cut, recipe.device, kept)
        counts["judged"] = len(examples)
    else:
        pairs_of = partial(_pairs, labelled=recipe.labels == "given", cut=cut)
        examples, counted = triples_of(corpora.train, pairs_of, recipe.negatives, cut)
        counts += counted
    if not examples:
        raise DataError(
            "there is nothing to learn from", remedy="Name a source in `train` that has labels."
        )
    return examples, dict(counts)


def _pairs(corpus: Corpus, *, labelled: bool, cut: Cut) -> tuple[list[Pair], Counter[str]]:
    if labelled:
        return labelled_pairs(corpus.labels, cut)
    pairs = cloze_pairs(corpus.texts, cut, corpus.seed)
    return pairs, Counter(pairs=len(pairs))
