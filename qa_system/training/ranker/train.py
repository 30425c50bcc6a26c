"""`qa train ranker`: an encoder, and labelled questions -> a cross-encoder that orders reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qa_system.models.locate import locate, locate_checkpoint
from qa_system.training.ranker.evaluate import measure
from qa_system.training.ranker.examples import gather_examples
from qa_system.training.recipes import RankerTraining
from qa_system.training.record import write_record
from qa_system.training.run import begin
from qa_system.training.sources import read_sources

__all__ = ["train_ranker"]


def train_ranker(recipe: RankerTraining, out: str | Path) -> dict[str, Any]:
    """Train a cross-encoder, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model; checkpoints stand in `out/checkpoints` until the
            run is done.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: sentence-transformers, accelerate or datasets is not installed.
        ModelError: `recipe.model` is nothing to start from.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    run = begin(recipe, out, "datasets", "sentence_transformers")
    from qa_system.rankers.cross_encoder import load_cross_encoder
    from qa_system.training.ranker import cross_encoder

    model = cross_encoder.start(locate_checkpoint(recipe.model), recipe.max_seq_length, run.device)
    fits = cross_encoder.fits_of(model, recipe.max_seq_length)
    sources = read_sources(recipe.train, recipe.dev, recipe.seed, fits)
    material = gather_examples(sources, recipe.negatives, recipe.candidates)
    history = cross_encoder.fit(
        model,
        material.examples,
        loss=recipe.loss,
        evaluate=lambda: measure(model, material.measured),
        run=run,
    )
    model.save_pretrained(str(run.folder), create_model_card=False)
    # In memory it may still multiply in bf16: what counts is what will be loaded.
    saved = load_cross_encoder(locate(str(run.folder)), str(run.device))
    return write_record(
        run,
        task="ranker",
        data=material.data,
        scores=measure(saved, material.measured),
        history=history,
        counts=dict(material.counts),
    )
