"""`qa train ranker`: an encoder, and labelled questions -> a cross-encoder that orders reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Any

from qa_system.checkpoints import has_token_types
from qa_system.errors import DataError, ModelError
from qa_system.inference import choose_torch_device, choose_torch_precision
from qa_system.models import ModelLocation, locate, locate_checkpoint
from qa_system.training.lists import TextList, dev_lists, rank_metrics, train_lists
from qa_system.training.packages import training_packages
from qa_system.training.record import claim, write_record
from qa_system.training.settings import RankerTraining
from qa_system.training.sources import Part, read_sources

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["measure_ranker", "train_ranker"]

BATCH_PAIRS = 32
"""Pairs of question and text in a forward pass of a measurement; it changes no result."""


def train_ranker(settings: RankerTraining, out: str | Path) -> dict[str, Any]:
    """Train a cross-encoder, or go on where an earlier run into the same folder was stopped.

    Args:
        settings: the recipe.
        out: the folder that becomes the model; checkpoints stand in `out/checkpoints` while it
            is in the making.

    Returns:
        What `training.json` says of the run.

    Raises:
        MissingDependencyError: sentence-transformers, accelerate or datasets is not installed.
        ModelError: `settings.model` is nothing to start from.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    training_packages(settings.seed, "datasets", "sentence_transformers")
    from qa_system.rankers.cross_encoder import load_cross_encoder
    from qa_system.training.cross_encoding import fit

    started = monotonic()
    folder = claim(out, settings)
    device = choose_torch_device(settings.device)
    material = _gather(settings)
    model = _start(locate_checkpoint(settings.model), settings, device)

    def evaluate() -> dict[str, float]:
        return measure_ranker(model, material.dev)

    history = fit(
        model,
        material.lists,
        evaluate=evaluate,
        settings=settings,
        bf16="bfloat16" in str(choose_torch_precision(settings.precision, device)),
        out=folder,
    )
    model.save_pretrained(str(folder), create_model_card=False)
    # In memory it may still multiply in bf16: what counts is what will be loaded.
    saved = load_cross_encoder(locate(str(folder)), str(device))
    scores = measure_ranker(saved, material.dev)
    return write_record(
        folder,
        task="ranker",
        settings=settings,
        data=material.data,
        scores=scores,
        history=history,
        seconds=monotonic() - started,
        counts=dict(material.counts),
    )


def measure_ranker(model: CrossEncoder, sources: Sequence[Sequence[TextList]]) -> dict[str, float]:
    """Give a cross-encoder's `mrr` and `recall@1`, each source counting as much as the next."""
    measured = []
    for lists in sources:
        pairs = [(each.question, text) for each in lists for text in each.texts]
        logits = model.predict(pairs, batch_size=BATCH_PAIRS, activation_fn=_as_it_is).tolist()
        ends = accumulate((len(each.texts) for each in lists), initial=0)
        measured.append(rank_metrics(lists, [logits[a:b] for a, b in pairwise(ends)]))
    return {name: fmean(each[name] for each in measured) for name in measured[0]}


def _as_it_is(logits: Any) -> Any:
    return logits


@dataclass(frozen=True, slots=True)
class _Material:
    """What a run is made of.

    Args:
        lists: to learn from.
        dev: to measure on, by source: dev, then what was held out of the training data.
        data: where all that came from.
        counts: of the lists and their texts.
    """

    lists: Sequence[TextList]
    dev: Sequence[Sequence[TextList]]
    data: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]


def _gather(settings: RankerTraining) -> _Material:
    sources = read_sources(settings.train, settings.dev, settings.seed)
    lists: list[TextList] = []
    counts: Counter[str] = Counter(asked_on_dev=sources.asked_on_dev)
    for part in sources.train:
        of_source, counted = train_lists(part.labels, settings.negatives, part.seed)
        lists += part.source.weighted(of_source, part.seed)
        counts += counted
    if not lists:
        raise DataError(
            "there is nothing to learn from: no question has a text that answers it and one "
            "that does not",
            remedy="Name a source in `train` with several texts an item, or set "
            "negatives.other_item above 0.",
        )
    dev = [_to_measure(part, settings.candidates) for part in sources.measured]
    if not dev:
        raise DataError("there is nothing to measure on", remedy="Name a source in `dev`.")
    return _Material(lists, dev, sources.data, counts)


def _to_measure(part: Part, candidates: int) -> list[TextList]:
    lists = dev_lists(part.labels, part.dataset.reviews, candidates)
    if not any(len(set(each.relevant)) == 2 for each in lists):
        raise DataError(
            "no question has a text that answers it and one that does not, so that every order "
            "is as good",
            where=part.dataset.path,
            remedy="Name another source in `dev`.",
        )
    return lists


def _start(location: ModelLocation, settings: RankerTraining, device: Any) -> CrossEncoder:
    from qa_system.rankers.cross_encoder import open_cross_encoder

    model, positions = open_cross_encoder(
        location,
        str(device),
        remedy="Name an encoder, a reader or a cross-encoder, in safetensors.",
        num_labels=1,
        max_length=settings.max_seq_length,
        # The fused kernel is slower than its parts on a CPU; see `training.reader`.
        model_kwargs={} if device.type == "cuda" else {"attn_implementation": "eager"},
        config_kwargs={"attention_probs_dropout_prob": 0.0},
    )
    names = model.tokenizer.model_input_names
    if has_token_types(model.model.config) and "token_type_ids" not in names:
        # Without them the model would not be told which tokens are the question's.
        model.tokenizer.model_input_names = [*names, "token_type_ids"]
        # That alone is not saved.
        model.tokenizer.init_kwargs["model_input_names"] = [*names, "token_type_ids"]
    if positions is not None and settings.max_seq_length > positions:
        raise ModelError(
            f"max_seq_length is {settings.max_seq_length}, and the model has {positions} positions",
            where=str(location.path),
            remedy=f"Set max_seq_length to {positions} at most.",
        )
    return model
