"""The readers that an adaptation compares: the model each starts from, and its training data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from eval.adaptation.generated import Generation
from eval.runs.wording import dotted
from eval.tasks.calibration import fit_to
from eval.tasks.reader import evaluate_reader
from qa_system.config import Settings, load_settings
from qa_system.console.wording import counted
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import TRAINING, locate
from qa_system.pipelines import build_reader
from qa_system.readers.extractive import ExtractiveReader
from qa_system.records import Label
from qa_system.training.recipes import Adaptation, ReaderRecipe, ReaderTraining, Source
from qa_system.training.run import made_of

__all__ = [
    "DOMAIN_ONLY",
    "GENERAL_ONLY",
    "GENERAL_THEN_DOMAIN",
    "GENERAL_THEN_GENERATED",
    "WITH_REPLAY",
    "Ingredients",
    "open_reader",
    "reader_settings",
    "source_of",
    "train_once",
]

GENERAL_ONLY = "general-only"
GENERAL_THEN_DOMAIN = "general-then-domain"
GENERAL_THEN_GENERATED = "general-then-generated"
WITH_REPLAY = "general-then-domain-with-replay"
DOMAIN_ONLY = "domain-only"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingredients:
    """The models and data that the readers are trained from.

    Args:
        general: a question-answering checkpoint, compared as it is and adapted.
        start: a plain encoder, for the reader that is trained on the domain only; None: there is
            no such reader.
        replay: general data that one reader is also trained on; none: there is no such reader.
        replay_dev: general data that this reader is tuned on, with the domain's dev split.
        recipe: how all of them are trained.
        generation: where labels come from that one reader is trained on instead of the domain's;
            None: there is no such reader.

    Raises:
        ModelError: a model is missing.
        ConfigError: a model is an export, which cannot be trained, or no reader can have the
            recipe's windows.
    """

    general: str
    start: str | None
    replay: tuple[Source, ...]
    replay_dev: tuple[Source, ...]
    recipe: Adaptation
    generation: Generation | None = None

    def __post_init__(self) -> None:
        for name in (self.general, self.start):
            if name is not None and (location := locate(name)).format != "torch":
                raise ConfigError(
                    f"{name!r} is an export, and cannot be trained further",
                    where=str(location.path),
                    remedy="Name a checkpoint in safetensors: what `qa train reader` wrote.",
                )
        reader_settings(self.general, self.recipe)

    def trainings(
        self, train: Path, dev: Path, generated: Mapping[str, Path] | None = None
    ) -> dict[str, ReaderTraining]:
        """Return how each reader is trained on a domain; the general one is not trained.

        Args:
            train: a SQuAD file of the domain.
            dev: another.
            generated: files `train` and `dev` of generated labels; None: there are none.

        Raises:
            DataError: a replayed source or its split is missing.
        """
        domain = Source(path=str(train), held_out=self.recipe.held_out)
        tuned = Source(path=str(dev))
        found = {GENERAL_THEN_DOMAIN: self._training(self.general, (domain,), (tuned,))}
        if generated is not None:
            asked = Source(path=str(generated["train"]), held_out=self.recipe.held_out)
            tuned_on = Source(path=str(generated["dev"]))
            found[GENERAL_THEN_GENERATED] = self._training(self.general, (asked,), (tuned_on,))
        if self.replay:
            replayed = _replayed(self.replay, _questions(domain), self.recipe.replay)
            found[WITH_REPLAY] = self._training(
                self.general, (domain, *replayed), (tuned, *self.replay_dev)
            )
        if self.start is not None:
            instead = self.recipe.domain_only.model_dump(exclude_none=True)
            found[DOMAIN_ONLY] = self._training(self.start, (domain,), (tuned,), **instead)
        return found

    def _training(
        self, model: str, train: Sequence[Source], dev: Sequence[Source], **instead: Any
    ) -> ReaderTraining:
        shared = self.recipe.model_dump(include=set(ReaderRecipe.model_fields))
        return ReaderTraining.model_validate(
            shared | instead | {"model": model, "train": tuple(train), "dev": tuple(dev)}
        )


def source_of(text: str) -> Source:
    """Read `PATH` or `PATH:SPLIT`, as on a command line.

    >>> source_of("general.json:train")
    Source(path='general.json', split='train', weight=1.0, held_out=0.0)
    >>> source_of("bundled:sample").path
    'bundled:sample'
    """
    path, _, split = text.rpartition(":")
    if path in {"", "bundled", "hub"} or Path(text).exists():
        return Source(path=text)
    return Source(path=path, split=split)


def train_once(settings: ReaderTraining, folder: Path) -> Mapping[str, Any]:
    """Train a reader, resume a training that was stopped, or take the trained one.

    Returns:
        The content of its `training.json`.

    Raises:
        ConfigError: the folder holds a reader with other settings, weights or data, or a stopped
            training with other settings.
        QASystemError: see `qa_system.training.reader.train.train_reader`.
    """
    from qa_system.training.reader.train import train_reader

    if not (folder / TRAINING).is_file():
        _log.info("%s: training", folder)
        return train_reader(settings, folder)
    record = _record_of(folder / TRAINING)
    there, wanted = dict(dotted(_training_of(record))), dict(dotted(_wanted(settings)))
    different = [key for key in wanted | there if wanted.get(key) != there.get(key)]
    if different:
        raise ConfigError(
            f"the reader there was trained with other settings: {', '.join(different)}",
            where=str(folder / TRAINING),
            remedy="Delete this reader's folder, or name another one: qa-eval adapt --out FOLDER.",
        )
    _log.info("%s: trained already", folder)
    return record


def open_reader(
    model: str, recipe: ReaderRecipe, dev: Sequence[Label] = ()
) -> tuple[ExtractiveReader, Mapping[str, Any]]:
    """Load a reader with its own calibration, as users do.

    Args:
        model: its name.
        recipe: windows and answers have the lengths of the training.
        dev: the questions to fit a threshold on if it has no calibration; none: no threshold is
            fitted.

    Returns:
        The reader, and its calibration for the report.

    Raises:
        ModelError: it cannot be loaded.
        EvaluationError: it has no calibration, and `dev` lacks answerable or unanswerable
            questions.
    """
    reader = build_reader(reader_settings(model, recipe))
    reader.warm_up()
    if reader.calibration.fitted_on is not None or not dev:
        return reader, reader.calibration.to_dict()
    fitted = fit_to([evaluate_reader(dev, reader)], f"dev, {counted(len(dev), 'question')}")
    settings = reader_settings(model, recipe, threshold=fitted.threshold)
    reader = build_reader(settings)
    reader.warm_up()
    return reader, {**reader.calibration.to_dict(), "fitted_on": fitted.fitted_on}


def reader_settings(
    model: str, recipe: ReaderRecipe, *, threshold: float | None = None
) -> Settings:
    """Return the settings of a trained reader.

    Raises:
        ConfigError: no reader can have the recipe's windows and stride.
    """
    lengths = {
        f"reader.{name}": getattr(recipe, name)
        for name in ("max_seq_length", "stride", "max_answer_length", "precision", "device")
    }
    named = {"reader.model": model, "reader.no_answer_threshold": threshold, "seed": recipe.seed}
    return load_settings(overrides=named | lengths)


def _replayed(sources: Iterable[Source], questions: int, share: float) -> list[Source]:
    """Weight sources so that together they have `share` questions for each one of the domain."""
    listed = list(sources)
    weight = share * questions / sum(map(_questions, listed))
    return [source.model_copy(update={"weight": weight}) for source in listed]


def _questions(source: Source) -> int:
    return len(read_dataset(source.path).labels_of(source.split))


def _record_of(path: Path) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = orjson.loads(path.read_bytes())
        _training_of(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path.name} is damaged: {error!r}",
            where=str(path),
            remedy="Delete the reader's folder; then it is trained again.",
        ) from error
    return record


def _training_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a reader was trained, without the paths of its data."""
    settings = {
        **record["settings"],
        **{
            part: [{**source, "path": None} for source in record["settings"][part]]
            for part in ("train", "dev")
        },
    }
    return {
        **settings,
        "data": [origin["sha256"] for origin in record["data"]],
        "weights": record["models"],
    }


def _wanted(settings: ReaderTraining) -> dict[str, Any]:
    sources = (*settings.train, *settings.dev)
    data = [{"sha256": read_dataset(source.path).sha256} for source in sources]
    tree = settings.model_dump(mode="json")
    return _training_of({"settings": tree, "models": made_of(settings), "data": data})
